# SPDX-License-Identifier: Apache-2.0
"""Event loops that end while their thread or process goes on, and too many at once."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import SERVICES, attached, stolen_ms

#: Below what each of the loops sleeps, above what finding it takes.
OPTIONS = ("-v", "--stall", 12)
MOST = 64  # loops observed at once
LISTED = 256  # threads with loops that are in the report
YOUNG_MS = 15  # what a loop of a series does before it blocks
RUN_S = 60


def kept_ms(process):
    """Time for which loopscope was kept from a CPU until it ended, but for short waits."""
    schedstat, stolen = Path(f"/proc/{process.pid}/schedstat"), stolen_ms()
    ends, before, kept = time.monotonic() + RUN_S, 0.0, 0.0
    while process.poll() is None:
        if time.monotonic() > ends:
            raise subprocess.TimeoutExpired(process.args, RUN_S)
        try:
            delay = int(schedstat.read_text().split()[1]) / 1e6
        except (FileNotFoundError, ProcessLookupError):
            continue
        kept += delay - before if delay - before >= 5 else 0
        before = delay
        time.sleep(0.02)
    return kept + stolen_ms() - stolen


def watch(loop, mode, count):
    """loopscope beside services/many_loops.py, from its first step to its end."""
    command = [sys.executable, SERVICES / "many_loops.py", loop, mode, count]
    with attached(None, *OPTIONS, command=command, wait=False) as run:
        run.missed = kept_ms(run.process) / YOUNG_MS  # loops that came and blocked meanwhile
    assert run.status == 0, run.stderr
    assert "stalled" not in run.stderr
    return run


def blocks(run, thread="loops"):
    """The one finding of blocking calls; those between two loops are none."""
    found = run.findings("blocking_call")
    names = [(f["culprit"]["qualname"], f["syscall"], f["count"]) for f in found]
    assert [name[0] for name in names] == ["block"], names
    [finding] = found
    assert thread in (None, finding["owner"]["thread"])
    assert finding["ongoing"] is False
    assert finding["calls"] == finding["count"]
    return finding


def registered(run):
    return run.stderr.count("event loop of pid")


def refused(run):
    return run.report["self"]["counters"]["loop_slots_full"]


def test_one_after_the_other_in_a_thread(loop):
    """Each is found while it is young, and none inherits what the one before left open."""
    run = watch(loop, "series", 100)
    finding = blocks(run)
    assert 98 - run.missed <= finding["count"] <= 100
    assert registered(run) >= finding["count"] and refused(run) == 0
    [target] = run.report["targets"]
    [thread] = target["loops"]
    # Two epoll waits at least in each of them.
    assert thread["steps"] >= 2 * finding["count"]
    # What is between two loops is not in any.
    assert 0.2 < thread["busy_ratio"] < 0.6


def test_registration_delay():
    """What is open already is taken from then on: a few milliseconds are missing at most."""
    finding = blocks(watch("asyncio", "first", 100))
    assert 90 <= finding["count"] <= 100
    assert finding["since_before"] is True
    assert finding["duration_ms"]["mean"] > 15


def test_two_runs_of_each(loop):
    run = watch(loop, "runner", 40)
    assert 39 - run.missed <= blocks(run)["count"] <= 40


def test_never_closed(loop):
    """Another loop in the same thread is told from a wait inside of the one that is known."""
    # So few that their descriptors fit in the first table: the kernel sleeps to replace it.
    finding = blocks(watch(loop, "leak", 8))
    assert 6 <= finding["count"] <= 8


def test_each_in_a_thread_of_its_own(loop):
    run = watch(loop, "threads", LISTED + 20)
    finding = blocks(run, thread=None)
    assert LISTED + 18 - run.missed <= finding["count"] <= LISTED + 20
    [target] = run.report["targets"]
    assert len(target["loops"]) == LISTED
    assert any("more threads than are listed" in note for note in target["notes"])


@pytest.mark.parametrize("count", [80, 200])
def test_more_at_once_than_are_observed(loop, count):
    run = watch(loop, "crowd", count)
    # The others are found once there is room for them again.
    assert min(count // 2, MOST) <= blocks(run, thread=None)["count"] <= count // 2
    assert refused(run) == count - MOST
    [target] = run.report["targets"]
    assert any(f"more than {MOST} event loops at once" in note for note in target["notes"])
    assert run.stderr.count("are not observed") == 1
