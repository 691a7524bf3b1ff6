# SPDX-License-Identifier: Apache-2.0
"""Stacks are what the program itself says they are (sys._current_frames).

For each CPython, static and shared: through `dump`, which reads the memory of a
process, and through `attach`, for which the kernel walks the stack.
"""

import json
import shutil
import signal
import subprocess
from contextlib import contextmanager

from harness import SERVICES, attached, end, loopscope, wait_until

#: What is kept of one stack, and what is promised.
KEPT = 160
PROMISED = 128
START_SECONDS = 30
#: A frame whose code was freed before it could be read.
UNKNOWN = ["", "", "", None]


class Program:
    """services/situations.py with an interpreter, in a folder of its own."""

    def __init__(self, interpreter, mode):
        self.interpreter = interpreter
        self.folder = interpreter.folder()
        script = f"{self.folder}/situations.py"
        shutil.copy(SERVICES / "situations.py", interpreter.outside(script))
        self.script = script
        self.process = subprocess.Popen(
            interpreter.command(script, mode, self.folder),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self.process.pid

    def path(self, name):
        return self.interpreter.outside(f"{self.folder}/{name}")

    def truth(self):
        """Its own view, once it has one."""
        path = self.path("truth.json")
        wait_until(
            lambda: path.exists() or self.process.poll() is not None, START_SECONDS, "its stacks"
        )
        assert path.exists(), self.process.stderr.read()
        return json.loads(path.read_text())


@contextmanager
def program(interpreter, mode):
    running = Program(interpreter, mode)
    try:
        yield running
    finally:
        end(running.process, signal.SIGKILL)
        running.process.stderr.close()
        shutil.rmtree(interpreter.outside(running.folder), ignore_errors=True)


def frames_of(frames):
    return [[f["file"], f["qualname"], f["function"], f["line"]] for f in frames]


def compare(frames, truth):
    """Whole up to what is promised, and then cut off at the root's end."""
    if len(truth) <= PROMISED:
        assert frames == truth
    else:
        assert PROMISED <= len(frames) <= KEPT
        assert frames == truth[: len(frames)]


def test_dump(interpreter):
    with program(interpreter, "threads") as running:
        truth = running.truth()
        run = loopscope("dump", "-p", running.pid, "--json")
    assert run.returncode == 0, run.stderr
    dump = json.loads(run.stdout)
    [target] = dump["targets"]
    assert target["python"] == interpreter.version
    threads = {thread["tid"]: thread for thread in target["threads"]}
    assert len(truth) >= 30 and len(threads) == len(truth) + 1  # and the main thread
    for true in truth:
        thread = threads[true["tid"]]
        assert thread["name"] == true["thread"]
        assert thread["state"] == "blocked"
        compare(frames_of(thread["frames"]), true["frames"])
    assert max(len(true["frames"]) for true in truth) > KEPT
    # Only the one that is deeper than anything that is kept is not whole.
    assert dump["partial"]["reasons"] == {"truncated": 1}


def test_attach(interpreter, loop):
    with program(interpreter, loop) as running:
        wait_until(lambda: running.path("situations.py").exists(), 5, "the program")
        with attached(running.pid, "-v", "--follow", "-f", "json") as run:
            wait_until(lambda: "event loop of" in run.stderr, START_SECONDS, "its loop")
            running.path("go").touch()
            truth = running.truth()
    assert run.status == 0, run.stderr
    assert len(truth) >= 30
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    tasks = [line["task"] for line in lines if line["kind"] == "call"]
    assert tasks == [true["task"] for true in truth]
    stacks = [
        stack
        for finding in run.findings("blocking_call")
        for stack in finding["stacks"]
        if finding["syscall"] == "clock_nanosleep"
    ]
    for true in truth:
        best = max(stacks, key=lambda stack: alike(frames_of(stack["frames"]), true["frames"]))
        frames = frames_of(best["frames"])
        if true["task"] == "gone":
            # Too late to be read, perhaps; but what is said is not made up.
            both = zip(frames, true["frames"], strict=True)
            frames = [said if said != UNKNOWN else other for said, other in both]
        compare(frames, true["frames"])
        assert best["count"] == 1
        stacks.remove(best)
    assert stacks == []
    # The one that is deeper than anything that is kept; a clock sample may have met it, too.
    assert run.report["self"]["counters"]["stack_truncated"] >= 1


def alike(one, other):
    """How many frames two stacks share."""
    return sum(a == b for a, b in zip(one, other, strict=False))
