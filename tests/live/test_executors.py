# SPDX-License-Identifier: Apache-2.0
"""Several executors of every CPython: in which one a call is queued, and how many are."""

import pytest
from harness import SERVICES, Service, attached, drive, get

HELD_MS = 400
#: Of services/in_processes.py.
PROCESSES = 2
#: Name -> route, threads, calls at the same time.
BUSY = {
    "reports": ("reports", 2, 9),
    "mails": ("mails", 1, 6),
    "default executor": ("default", 3, 5),
}


def line_of(name):
    lines = (SERVICES / "executors.py").read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if text.endswith(f"  # {name}"))


@pytest.fixture
def service(interpreter, loop):
    with Service("executors:app", loop=loop, interpreter=interpreter) as service:
        yield service


def observed(service, calls):
    """Report and own numbers of a moment in which so many calls of each route are made."""
    paths = [f"/{route}/{HELD_MS}" for route, count in calls.items() for _ in range(count)]
    get(service, "/reset")
    with attached(service) as run:
        drive(service, paths, concurrency=len(paths))
        said = get(service, "/numbers").json()
    return run, said


def test_queues_of_every_interpreter(service):
    run, said = observed(service, {route: count for route, _, count in BUSY.values()})
    pools = {pool["name"]: pool for pool in run.report["pools"] if pool["kind"] == "executor"}
    assert set(pools) == set(BUSY)
    for name, (_, threads, calls) in BUSY.items():
        assert said[name]["lasting"] == calls - threads
        assert pools[name]["waiters_max"] == said[name]["lasting"]
        assert pools[name]["size"] == pools[name]["in_use_max"] == said[name]["size"]
    found = run.findings("executor_exhaustion")
    assert {f["pool"]["name"]: (f["route"], f["culprit"]["line"]) for f in found} == {
        name: (f"/{route}/{{ms}}", line_of(name)) for name, (route, *_) in BUSY.items()
    }


def test_threads_that_suffice(service):
    run, said = observed(service, {route: threads for route, threads, _ in BUSY.values()})
    assert run.findings("executor_exhaustion") == []
    assert all(numbers["lasting"] == 0 for numbers in said.values())


def test_a_thread_that_goes_on_at_once(loop):
    """A thread that is never idle begins its next call when the one before ends."""
    calls, ms = 40, 60
    with Service("executors:app", loop=loop) as service, attached(service) as run:
        drive(service, [f"/reports/{ms}"] * calls, concurrency=calls)
    (row,) = run.report["routes"]
    assert row["requests"] == calls
    # A thread may begin while the loop is still handing over to it.
    assert 0.95 * calls * ms <= row["time_ms"]["thread_run"] <= 1.3 * calls * ms, row["time_ms"]
    # Of two at a time the first two wait for none, the next two once, and so on.
    queued_ms = sum(2 * turn * ms for turn in range(calls // 2))
    assert row["time_ms"]["thread_queue"] == pytest.approx(queued_ms, rel=0.25)


def test_processes_of_an_executor(interpreter):
    """What a process works on is not queued; what waits for one is."""
    with Service("in_processes:app", interpreter=interpreter) as service:
        with attached(service) as enough:
            drive(service, [f"/compute/{HELD_MS}"] * PROCESSES, concurrency=PROCESSES)
        with attached(service) as short:
            drive(service, [f"/compute/{HELD_MS}"] * 3 * PROCESSES, concurrency=3 * PROCESSES)
    (row,) = enough.report["routes"]
    assert row["time_ms"]["thread_run"] >= 0.75 * PROCESSES * HELD_MS, row["time_ms"]
    assert enough.findings("executor_exhaustion") == []
    # The first ones wait for none, the next ones once, the last ones twice that long.
    (row,) = short.report["routes"]
    queued_ms = (0 + 1 + 2) * PROCESSES * HELD_MS
    assert row["time_ms"]["thread_queue"] == pytest.approx(queued_ms, rel=0.25)
    assert row["time_ms"]["thread_run"] >= 0.75 * 3 * PROCESSES * HELD_MS
    (finding,) = short.findings("executor_exhaustion")
    assert finding["requests"] == 2 * PROCESSES
