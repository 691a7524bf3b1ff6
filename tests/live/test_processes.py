# SPDX-License-Identifier: Apache-2.0
"""Workers, forks, execs, ports and loops in threads: all of a target is followed.

And none of it is ever stopped or traced.
"""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import (
    HOST,
    SERVICES,
    Service,
    attached,
    drive,
    get,
    listening,
    loopscope,
    reserved_port,
    wait_until,
)

START_SECONDS = 20


def per_pid(truth):
    """How many blocks each process says it had, of those that are a finding."""
    return Counter(
        line["pid"] for line in truth if line["end_ns"] - line["start_ns"] >= 20_000_000
    )


def counted(run, **fields):
    """The same of the one finding about sleeping that has these fields."""
    fields["syscall"] = "clock_nanosleep"
    [finding] = [
        finding
        for finding in run.findings("blocking_call")
        if all(finding[name] == value for name, value in fields.items())
    ]
    assert finding["count"] == sum(share["count"] for share in finding["processes"])
    return Counter({share["pid"]: share["count"] for share in finding["processes"]})


def until_pids(service, count, seconds=START_SECONDS):
    """Requests, each on a connection of its own, until so many processes have blocked."""
    pids = set()

    def ask():
        try:
            get(service, "/sleep/30")
        except (OSError, IndexError, ValueError):
            pass  # a worker that was killed had it
        pids.update(line["pid"] for line in service.truth("blocking_call"))
        return len(pids) >= count

    wait_until(ask, seconds, f"{count} processes to answer")
    return pids


def observed_loops(run, pid=None):
    """How often an event loop was found, with -v."""
    lines = re.findall(r"event loop of pid (\d+)", run.stderr)
    return len([line for line in lines if pid in (None, int(line))])


def until_observed(run, pids, count=1):
    wait_until(
        lambda: all(observed_loops(run, pid) >= count for pid in pids),
        START_SECONDS,
        f"the loops of {pids}",
    )


def target_of(run, pid):
    return [target for target in run.report["targets"] if target["pid"] == pid]


class Program:
    """A script of services/ that is started by loopscope itself, or before it."""

    def __init__(self, folder, *arguments):
        self.exit = ExitStack()
        self.port = self.exit.enter_context(reserved_port())
        self.truth_path = folder / "truth.jsonl"
        words = [str(self.port) if word == "PORT" else str(word) for word in arguments]
        self.command = [
            "env",
            f"LOOPSCOPE_TRUTH={self.truth_path}",
            f"LOOPSCOPE_FOLDER={folder}",
            "PYTHONDONTWRITEBYTECODE=1",
            sys.executable,
            *words,
        ]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.exit.close()

    def truth(self, kind=None, route=None):
        return Service.truth(self, kind, route)

    def _outside(self, name):
        return self.truth_path

    def wait(self):
        wait_until(lambda: listening(self.port), START_SECONDS, f"port {self.port}")


UVICORN = ("-m", "uvicorn", "--app-dir", SERVICES, "--host", HOST, "--port", "PORT")
UVICORN += ("--no-access-log", "--log-level", "warning")


# ---- workers ------------------------------------------------------------------------


def test_workers_before_and_after(loop):
    with Service("processes:app", loop=loop, arguments=["--workers", 2]) as service:
        first = until_pids(service, 2)
        before = len(service.truth("blocking_call"))
        with attached(service, "-v") as run:
            wait_until(
                lambda: len(per_pid(service.truth()[before:])) == 2 or ask(service),
                START_SECONDS,
                "both to answer",
            )
            killed = min(first)
            loops = observed_loops(run)
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: observed_loops(run) > loops, START_SECONDS, "a new worker")
            new = until_pids(service, 3) - first
            drive(service, ["/sleep/30"] * 3, concurrency=1)
        truth = per_pid(service.truth("blocking_call")[before:])
    assert run.status == 0
    assert len(new) == 1 and set(truth) == first | new
    assert counted(run, route="/sleep/{ms}", method="GET") == truth
    pids = {target["pid"] for target in run.report["targets"]}
    assert pids >= {service.pid} | first | new
    [target] = target_of(run, killed)
    assert any("ended by signal 9" in note for note in target["notes"]), target["notes"]
    for pid in first | new:
        [target] = target_of(run, pid)
        assert target["server"].startswith("uvicorn ")
        assert target["loop"] == loop
        assert pid in [each["tid"] for each in target["loops"]]


def ask(service):
    get(service, "/sleep/30")
    return False


def test_forked_workers(tmp_path):
    """Workers that were forked, all modules being there already, as gunicorn does it."""
    with (
        Program(tmp_path, SERVICES / "processes.py", "PORT", 2) as program,
        attached(None, "-v", command=program.command, wait=False) as run,
    ):
        program.wait()
        wait_until(lambda: observed_loops(run) == 4, START_SECONDS, "two loops in two processes")
        pids = until_pids(program, 2)
        truth = per_pid(program.truth("blocking_call"))
    assert run.status == 0, run.stderr
    assert counted(run, route="/sleep/{ms}", method="GET") == truth
    for pid in pids:
        assert len(target_of(run, pid)) == 1


# ---- one process ---------------------------------------------------------------------


def test_command_from_its_first_step(tmp_path, loop):
    with (
        Program(tmp_path, *UVICORN, "--loop", loop, "stalls:app") as program,
        attached(None, "-v", command=program.command, wait=False) as run,
    ):
        program.wait()
        wait_until(lambda: observed_loops(run), START_SECONDS, "its loop")
        drive(program, ["/sleep/30"] * 3, concurrency=1)
        truth = per_pid(program.truth("blocking_call"))
        [pid] = truth
    assert run.status == 0, run.stderr
    assert counted(run, route="/sleep/{ms}", method="GET") == truth == {pid: 3}
    [target] = run.report["targets"]
    assert target["pid"] == pid and target["loop"] == loop
    # Its start is nobody's fault, however long its imports took.
    assert [f for f in run.findings() if f["route"] is None and f["kind"] == "blocking_call"] == []
    # What loopscope started it ends as well.
    assert not Path(f"/proc/{pid}").exists()


FIRST_STEP = """
import asyncio, time
async def main():
    began = time.monotonic()
    time.sleep(1.5)
    print((time.monotonic() - began) * 1e3, flush=True)
    await asyncio.sleep(0.05)
    time.sleep(0.05)
    await asyncio.sleep(0.05)
asyncio.run(main())
"""


def test_first_step_itself():
    with attached(None, command=[sys.executable, "-c", FIRST_STEP], wait=False) as run:
        run.process.wait(20)
    assert run.status == 0, run.stderr
    [finding] = run.findings("blocking_call")
    assert finding["owner"]["task"] is not None
    assert finding["count"] == 2
    assert finding["ongoing"] is False
    # It had begun when its loop was found.
    assert 1000 <= finding["duration_ms"]["max"] <= float(run.stdout.splitlines()[0]) + 1
    [target] = run.report["targets"]
    assert any("exit status 0" in note for note in target["notes"])


@pytest.mark.parametrize("path", ["/exec", "/exec-in-thread"])
def test_exec_is_followed(loop, path):
    with Service("processes:app", loop=loop) as service:
        drive(service, ["/ping"])
        with attached(service, "-v") as run:
            drive(service, ["/sleep/30"] * 2, concurrency=1)
            loops = observed_loops(run, service.pid)
            with socket.create_connection((HOST, service.port)) as request:
                request.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                while request.recv(4096):
                    pass
            until_observed(run, [service.pid], 2 * loops)
            wait_until(lambda: listening(service.port), START_SECONDS, "the program to begin anew")
            drive(service, ["/sleep/30"] * 3, concurrency=1)
            truth = per_pid(service.truth("blocking_call"))
    assert run.status == 0
    assert truth == {service.pid: 5}
    assert counted(run, route="/sleep/{ms}", method="GET") == truth
    notes = [note for target in target_of(run, service.pid) for note in target["notes"]]
    assert sum("executed another program" in note for note in notes) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_port(workers):
    arguments = ["--workers", workers] if workers > 1 else []
    with Service("processes:app", arguments=arguments) as service:
        until_pids(service, workers)
        before = len(service.truth("blocking_call"))
        with attached(None, "--port", service.port, command=None) as run:
            drive(service, ["/sleep/30"] * 6, concurrency=1)
            wait_until(
                lambda: len(per_pid(service.truth()[before:])) == workers or ask(service),
                START_SECONDS,
                "all of them to answer",
            )
            truth = per_pid(service.truth("blocking_call")[before:])
    assert run.status == 0, run.stderr
    assert counted(run, route="/sleep/{ms}", method="GET") == truth


def test_port_of_nobody():
    with reserved_port() as port:
        run = loopscope("attach", "--port", port, "-d", 1)
    assert run.returncode == 4
    assert len(run.stderr.splitlines()) == 1 and "port" in run.stderr
    assert run.stdout == ""


def test_two_loops_in_one_process(loop):
    with Service("processes:app", loop=loop) as service:
        tids = get(service, "/ping").json()["tids"]
        assert len(tids) == 2
        with attached(service) as run:
            drive(service, ["/sleep/40"] * 2 + ["/second/60"] * 3, concurrency=1)
        lines = service.truth("blocking_call")
    assert Counter(line["tid"] for line in lines) == {tids[0]: 2, tids[1]: 3}
    [target] = run.report["targets"]
    assert sorted(each["tid"] for each in target["loops"]) == sorted(tids)
    assert all(each["steps"] > 0 for each in target["loops"])
    assert counted(run, route="/sleep/{ms}") == {service.pid: 2}
    assert counted(run, route=None) == {service.pid: 3}
    [other] = [f for f in run.findings("blocking_call") if f["route"] is None]
    assert other["culprit"]["qualname"] == "block"
    assert other["owner"]["thread"] == "second loop"


def test_process_that_is_killed(loop):
    with Service("processes:app", loop=loop) as service:
        with attached(service, interrupt=False) as run:
            drive(service, ["/sleep/30"] * 2, concurrency=1)
            service.process.kill()
            service.process.wait()
    assert run.status == 0
    assert counted(run, route="/sleep/{ms}") == {service.pid: 2}
    [target] = run.report["targets"]
    assert any("signal 9" in note for note in target["notes"])


# ---- what never happens ----------------------------------------------------------------


@contextmanager
def watching(pid):
    """Read a process's status over and over; yields the set of what it was."""
    seen, stop = Counter(), threading.Event()

    def watch():
        while not stop.is_set():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                tasks = os.listdir(f"/proc/{pid}/task")
                stats = [Path(f"/proc/{pid}/task/{tid}/stat").read_text() for tid in tasks]
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            seen[f"tracer {fields['TracerPid']}"] += 1
            for stat in stats:
                seen[f"state {stat.rpartition(')')[2].split()[0]}"] += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_target_is_never_stopped_nor_traced(loop):
    with Service("stalls:app", loop=loop) as service:
        with watching(service.pid) as seen:
            with attached(service, "--rate", 997) as run:
                drive(service, ["/sleep/30", "/burn/60", "/gil/100", "/collect"] * 3)
            wait_until(lambda: sum(seen.values()) > 300, 20, "the watcher")
        assert run.status == 0
        assert {what for what in seen if what.startswith("tracer")} == {"tracer 0"}
        states = {what for what in seen if what.startswith("state")}
        assert states <= {"state R", "state S", "state D"}
        with watching(service.pid) as seen:
            service.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: seen["state T"], 5, "the watcher to see a stop")
            service.process.send_signal(signal.SIGCONT)
