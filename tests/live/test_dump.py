# SPDX-License-Identifier: Apache-2.0
"""dump says what every thread is doing, as the program itself would."""

import json
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from harness import (
    Service,
    end,
    get,
    loopscope,
    sleeps_in,
    thread_stat,
    wait_until,
)
from test_hang import send

#: Each thread is held in a way of its own; the main thread tells its stack and waits.
PROGRAM = """
import json, os, queue, sys, threading, time, traceback
from concurrent.futures import ThreadPoolExecutor

reading, writing = os.pipe()
lock = threading.Lock()
lock.acquire()

def burns():
    while True:
        pass

def sleeps():
    time.sleep(60)

def reads():
    os.read(reading, 1)

def locks():
    with lock:
        pass

for target in (sleeps, reads, locks):
    threading.Thread(target=target, name=target.__name__, daemon=True).start()
pool = ThreadPoolExecutor(1, thread_name_prefix="pool")
pool.submit(int).result()

def look():
    for thread in threading.enumerate()[1:]:
        for name in ("syscall", "schedstat"):
            with open(f"/proc/self/task/{thread.native_id}/{name}") as file:
                yield file.read()

# At rest: off its CPU, and not for the GIL, for which it would look every 5 ms.
before, now = None, list(look())
while now != before or any(text.startswith("running") for text in now):
    time.sleep(0.05)
    before, now = now, list(look())
for number in range(BURNING):
    threading.Thread(target=burns, name=f"burns-{number}", daemon=True).start()
stacks = {}
names = {thread.ident: thread.native_id for thread in threading.enumerate()}
for ident, frame in sys._current_frames().items():
    stack = [
        [frame.f_code.co_filename, frame.f_code.co_name, frame.f_code.co_qualname, line]
        for frame, line in traceback.walk_stack(frame)
    ]
    stacks[names[ident]] = stack
print(json.dumps(stacks), flush=True)
time.sleep(60)
"""
FIELDS = ["tid", "name", "state", "syscall", "frames", "task", "route", "method"]


def dump(pid, *options):
    """The JSON of a dump that went well."""
    run = loopscope("dump", "--json", "-p", pid, *options)
    assert (run.returncode, run.stderr) == (0, "")
    said = json.loads(run.stdout)
    assert list(said) == ["schema", "time", "targets", "partial"]
    assert said["schema"] == "loopscope.dump/1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", said["time"])
    assert said["partial"]["tasks_dropped"] == 0
    for target in said["targets"]:
        assert list(target) == ["pid", "python", "server", "loop", "threads", "tasks"]
        for thread in target["threads"]:
            assert list(thread) == FIELDS
            for frame in thread["frames"]:
                assert list(frame) == ["file", "function", "qualname", "line"]
    return said


def threads_of(said):
    (target,) = said["targets"]
    return {thread["name"]: thread for thread in target["threads"]}


def main_thread(said, service):
    threads = said["targets"][0]["threads"]
    return next(thread for thread in threads if thread["tid"] == service.pid)


@pytest.fixture
def program(request, tmp_path, interpreter):
    folder = Path(interpreter.folder())
    path = folder / "held.py"
    interpreter.outside(path).write_text(PROGRAM.replace("BURNING", str(request.param)))
    process = subprocess.Popen(
        interpreter.command(path), stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        end(process, signal.SIGKILL)
        process.stdout.close()


@pytest.mark.parametrize("program", [0], indirect=True)
def test_stacks_and_states(program):
    process, truth = program
    # The main thread has still to come to its sleep when its line is there.
    wait_until(lambda: all(sleeps_in(process.pid, tid) for tid in truth), 5, "their rest")
    said = dump(process.pid)
    threads = threads_of(said)
    assert said["partial"]["reasons"] == {}
    assert {str(thread["tid"]) for thread in threads.values()} == set(truth)
    for name, thread in threads.items():
        stack = [list(frame.values()) for frame in thread["frames"]]
        if name == "MainThread":
            assert [frame[2] for frame in stack] == ["<module>"]
        else:
            assert stack == truth[str(thread["tid"])]
    states = {name: (thread["state"], thread["syscall"]) for name, thread in threads.items()}
    assert states == {
        "MainThread": ("blocked", "clock_nanosleep"),
        "sleeps": ("blocked", "clock_nanosleep"),
        "reads": ("blocked", "read"),
        "locks": ("blocked", "futex"),
        "pool_0": ("idle", "futex"),
    }


@pytest.mark.parametrize("program", [2], indirect=True)
def test_one_runs_and_one_waits_for_the_gil(program):
    process, _ = program
    seen = set()

    def one_of_each():
        threads = threads_of(dump(process.pid))
        states = sorted(threads[f"burns-{number}"]["state"] for number in range(2))
        assert set(states) <= {"gil_wait", "runnable", "running"}
        for number in range(2):
            frames = threads[f"burns-{number}"]["frames"]
            assert frames[0]["function"] == "burns"
        seen.add(tuple(states))
        return ("gil_wait", "running") in seen

    wait_until(one_of_each, 30, "one that runs and one that waits")


def test_a_service(loop):
    with Service("stalls:app", loop=loop) as service:
        get(service, "/sleep-thread/1")
        wait_until(lambda: service_call(service) == "epoll_wait", 5, "its rest")

        def at_rest():
            """Its main thread's; a server looks every 100 ms whether it should end."""
            main = main_thread(dump(service.pid), service)
            return main if main["state"] == "idle" else None

        main = wait_until(at_rest, 10, "a look between two of its own")
        assert main["syscall"].startswith("epoll_")
        assert (main["task"], main["route"], main["method"]) == (None, None, None)
        with closing(send(service, "GET", "/sleep/60000")):
            wait_until(lambda: service_call(service) == "clock_nanosleep", 5, "its sleep")
            said = dump(service.pid)
            text = loopscope("dump", "--port", service.port).stdout
        service.process.kill()
        (target,) = said["targets"]
        assert target["loop"] == loop
        assert target["server"].startswith("uvicorn ")
        main = main_thread(said, service)
        assert (main["state"], main["syscall"]) == ("blocked", "clock_nanosleep")
        assert (main["method"], main["route"]) == ("GET", "/sleep/{ms}")
        assert re.fullmatch(r"Task-\d+", main["task"])
        assert main["frames"][0]["qualname"] == "sleep"
        assert main["frames"][0]["file"].endswith("/stalls.py")
        assert "MainThread  blocked (clock_nanosleep)  GET /sleep/{ms}  task Task-" in text


def service_call(service):
    names = {"230": "clock_nanosleep", "232": "epoll_wait", "281": "epoll_wait"}
    return names.get(sleeps_in(service.pid))


def test_a_running_loop():
    with Service("stalls:app") as service:
        before = thread_stat(service.pid, "utime")
        with closing(send(service, "GET", "/burn/60000")):
            wait_until(lambda: thread_stat(service.pid, "utime") > before + 5, 5, "its work")
            main = main_thread(dump(service.pid), service)
        service.process.kill()
        assert main["state"] in ("running", "runnable")
        assert main["syscall"] is None
        assert (main["method"], main["route"]) == ("GET", "/burn/{ms}")


def test_a_stack_that_changes_is_marked(tmp_path):
    program = tmp_path / "changing.py"
    program.write_text(
        "def inner(depth):\n    return inner(depth - 1) if depth else 0\n"
        "print('ready', flush=True)\nwhile True:\n    inner(30)\n"
    )
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"ready\n"

        def torn():
            reasons = dump(process.pid)["partial"]["reasons"]
            assert set(reasons) <= {"torn", "unreadable"}
            return reasons.get("torn", 0)

        # Most reads fall between two calls and are whole.
        wait_until(torn, 30, "a read in the middle of a change")
    finally:
        end(process, signal.SIGKILL)
        process.stdout.close()


def test_workers_are_dumped_too():
    with Service("stalls:app", arguments=("--workers", 2)) as service:

        def with_loops():
            targets = dump(service.pid)["targets"]
            assert targets[0]["pid"] == service.pid
            return sum(bool(target["loop"]) for target in targets) == 2

        # One of them is enough to answer.
        wait_until(with_loops, 20, "both workers")
