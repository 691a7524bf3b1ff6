# SPDX-License-Identifier: Apache-2.0
"""Each kind of finding against the log of the service that did it: count and total.

The requests of one loop run one after the other below one attach; each test then
looks at its own route. A healthy twin does as much and must not be found at all.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import LOOPS, Service, cpu_hogs, drive, get, length_ms
from kinds import EXACT_MS, EXACT_SHARE, at, brief, late_ms, seen

TIMES = 5
#: A collection of so many objects takes well over 60 ms.
HEAP_OBJECTS = 1_200_000
#: Of what is sampled at 99 Hz: one sample more or less in an occurrence.
SAMPLED_MS = 1000 / 99
#: From there on a call is recorded by itself.
SLOW_CALL_MS = 1
#: From the interrupt that has a page to the thread that waited for it. The kernel's
#: clock of a thread stands still from its wake-up on: it counts that way, which is
#: the rest of the interrupt and the end of the CPU's sleep, as work of the thread.
WAKE_UP_MS = 0.008


@dataclass(frozen=True)
class Case:
    kind: str
    path: str
    route: str
    twin: str | None
    sampled: bool = False
    syscall: str | None = None
    #: Where the time goes, if not at the statement in the log.
    function: str | None = None
    #: Calls in each request, of which one per millisecond is recorded for all.
    short: int = 0

    def __str__(self):
        return f"{self.kind}-{self.path.split('/')[1]}"


def call(path, route, twin, syscall):
    return Case("blocking_call", path, route, twin, syscall=syscall)


CASES = [
    call("/sleep/60", "/sleep/{ms}", "/sleep-async/60", "clock_nanosleep"),
    call("/sleep-parts/8/10", "/sleep-parts/{count}/{ms}", "/sleep-def/60", "clock_nanosleep"),
    Case(
        "blocking_call",
        "/sleep-often/200/300",
        "/sleep-often/{count}/{us}",
        "/sleep-often/20/300",
        syscall="clock_nanosleep",
        function="sleeps",
        short=200,
    ),
    call("/recv/60", "/recv/{ms}", "/recv-async/60", "recvfrom"),
    call("/recv-timeout/60", "/recv-timeout/{ms}", "/recv-async/60", "poll"),
    call("/epoll/60", "/epoll/{ms}", "/epoll-thread/60", "epoll_wait"),
    call("/epoll-sliced/3/20", "/epoll-sliced/{slices}/{ms}", "/epoll-thread/60", "epoll_wait"),
    call("/fifo/60", "/fifo/{ms}", "/fifo-thread/60", "openat"),
    call("/connect/60", "/connect/{ms}", None, "connect"),
    call("/subprocess/60", "/subprocess/{ms}", "/subprocess-async/60", None),
    Case("lock_wait", "/lock/60", "/lock/{ms}", "/lock-thread/60", syscall="futex"),
    Case("log_backpressure", "/log/20", "/log/{lines}", "/log-queued/20", syscall="write"),
    Case("cpu_stall", "/burn/80", "/burn/{ms}", "/burn-sliced/80", sampled=True, function="burn"),
    Case("cpu_stall", "/compress/6", "/compress/{times}", "/compress-thread/6", sampled=True),
    Case("gc_pause", "/collect", "/collect", "/collect-young", sampled=True),
]
PATHS = [case.path for case in CASES for _ in range(TIMES)]
TWINS = sorted({case.twin for case in CASES if case.twin} | {"/sleep-thread/60"})


# ---- what the service says ---------------------------------------------------------


def done(service, case):
    """What was done in each request by its own log: lengths and CPU time in ms, and where.

    Also the lengths by the clock: with what a hypervisor took of the CPU time.
    """
    lines = service.truth(case.kind, f"GET {case.route}")
    parts = lines[0].get("parts", 1)
    walls = [length_ms(line) for line in lines]
    lengths = [line["cpu_ns"] / 1e6 for line in lines] if case.sampled else walls
    sums = [sum(lengths[first : first + parts]) for first in range(0, len(lengths), parts)]
    on_cpu = sum(line["cpu_ns"] for line in lines) / 1e6
    return sums, walls, on_cpu, lines[0]["file"], case.function or lines[0]["function"]


# ---- the loop's own thread: calls, locks, CPU, garbage -------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def stalls(request):
    with Service("stalls:app", loop=request.param, env={"LOOPSCOPE_HEAP": HEAP_OBJECTS}) as service:
        yield service


@pytest.fixture(scope="module")
def everything(stalls):
    """All cases under one attach, and the twins under another."""
    with seen(stalls) as bad:
        drive(stalls, PATHS, concurrency=1)
    truths = {str(case): done(stalls, case) for case in CASES}
    with seen(stalls) as good:
        drive(stalls, TWINS * 2, concurrency=1)
    return bad, good, truths


@pytest.mark.parametrize("case", CASES, ids=str)
def test_count_and_total(everything, case):
    run, _, truths = everything
    lengths, walls, on_cpu, file, function = truths[str(case)]
    assert len(lengths) == TIMES
    found = at(run, case.kind, case.route, file, function)
    assert len(found) == 1, brief(run.found)
    (finding,) = found
    assert finding["count"] == finding["requests"] == TIMES
    total = finding["duration_ms"]["total"]
    assert finding["duration_ms"]["count"] == TIMES
    if case.sampled:
        assert min(lengths) >= 60
        assert finding["evidence"] == "sampled"
        assert finding["samples"] >= TIMES
        slack = SAMPLED_MS * TIMES
        assert sum(lengths) - slack <= total <= sum(walls) + slack, (lengths, walls)
    else:
        assert finding["evidence"] == ("sampled" if case.short else "exact")
        slack = max(EXACT_MS * TIMES, EXACT_SHARE * sum(lengths))
        if case.short:
            # Of each request the rest, shorter than a slow call, is nobody's.
            assert TIMES * case.short * 0.9 <= finding["calls"] <= TIMES * case.short
            slack += SLOW_CALL_MS * TIMES
        # What is done on the CPU around the calls is no part of them.
        assert sum(lengths) - on_cpu - slack <= total <= sum(lengths) + slack, lengths
        assert finding["calls"] >= TIMES
    if case.syscall:
        assert finding["syscall"] == case.syscall
    assert finding["blocks_loop"] is True


def test_twins_are_healthy(everything):
    _, good, _ = everything
    assert brief(good.found) == []
    assert good.report["loss"]["produced"] > 0


def test_nothing_else_is_found(everything):
    run, _, truths = everything
    expected = {(case.kind, case.route) for case in CASES}
    others = [f for f in run.found if (f["kind"], f["route"]) not in expected]
    assert brief(others) == []


# ---- the GIL -------------------------------------------------------------------------


def test_one_long_wait_for_the_gil(stalls):
    before = len(stalls.truth("lag", "GET /gil-kept/{ms}"))
    with seen(stalls) as run:
        drive(stalls, ["/gil-kept/120"] * TIMES, concurrency=1)
    lags = stalls.truth("lag", "GET /gil-kept/{ms}")[before:]
    holds = stalls.truth("gil_contention", "GET /gil-kept/{ms}")
    late = [ms for ms in late_ms(lags, holds) if ms >= 20]
    assert len(late) >= TIMES
    found = [finding for finding in run.found if finding["kind"] == "gil_contention"]
    assert len(found) == 1, brief(run.found)
    (finding,) = found
    assert finding["count"] == len(late)
    # The timer itself is up to a millisecond late, and the loop late when its CPU is stolen.
    more = finding["duration_ms"]["total"] - sum(late)
    assert -1.2 * len(late) - run.stolen_ms <= more <= 0.2 * len(late)
    assert finding["culprit"]["qualname"] == "burn_in_one_call"
    assert finding["samples"] >= TIMES
    assert brief(run.found) == brief(found)


def test_many_short_waits_for_the_gil(stalls):
    """Found by their share of a second, each of them from 1 ms on."""
    before = len(stalls.truth("lag", "GET /gil/{ms}"))
    with seen(stalls) as run:
        get(stalls, "/gil/3500")
        time.sleep(1.1)  # a second is judged once it is over
    (line,) = stalls.truth("lag", "GET /gil/{ms}")[before:]
    late = [ns / 1e6 for ns in line["late_ns"] if ns >= 2e6]
    found = [finding for finding in run.found if finding["kind"] == "gil_contention"]
    (finding,) = [one for one in found if (one["culprit"] or {}).get("qualname") == "burn"]
    # The first waits of all may be over before their holder is sampled where it burns.
    others = [other for other in found if other is not finding]
    assert sum(other["count"] for other in others) <= 2, others
    # The seconds in which the load begins and ends say nothing below 200 ms of work.
    unsaid = 2 * 200
    total = finding["duration_ms"]["total"]
    assert sum(late) - unsaid - 1.2 * len(late) <= total <= sum(late) + 0.2 * len(late)
    # A tick may take two steps; each of them waits for a switch interval of 5 ms.
    assert 0.99 * len(late) - unsaid / 5 <= finding["count"] <= 1.01 * sum(late) / 5 + 1


def test_a_thread_that_releases_the_gil(stalls):
    with seen(stalls) as run:
        drive(stalls, ["/gil-released/6"] * 2, concurrency=1)
    assert brief(run.found) == []


# ---- many small callbacks ------------------------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def saturated(request):
    with Service("saturated:app", loop=request.param) as service:
        yield service


@pytest.mark.parametrize(
    ("path", "route", "steps"),
    [
        ("/callbacks/5000", "GET /callbacks/{count}", 1),
        ("/tasks/5000", "GET /tasks/{count}", 1),
        ("/burst/10000/2", "GET /burst/{tasks}/{rounds}", 2),
    ],
)
def test_small_callbacks_are_no_stall(saturated, path, route, steps):
    before = len(saturated.truth("loop_saturated", route))
    with seen(saturated) as run:
        get(saturated, path)
    lines = saturated.truth("loop_saturated", route)[before:]
    assert len(lines) == steps
    found = [finding for finding in run.found if finding["kind"] == "loop_saturated"]
    assert brief(run.found) == brief(found)
    (finding,) = found
    assert finding["count"] == steps
    assert finding["culprit"] is None
    assert finding["route"] is None
    lengths = [(line["end_ns"] - line["start_ns"]) / 1e6 for line in lines]
    least = sum(lengths) - run.delay_ms
    slack = max(EXACT_MS * steps, 0.05 * sum(lengths))
    assert least - slack <= finding["duration_ms"]["total"] <= sum(lengths) + slack


def tallied(run):
    """The stall at tally(), which is all that was found."""
    stalls = run.findings("cpu_stall")
    (finding,) = [f for f in stalls if f["culprit"] and f["culprit"]["qualname"] == "tally"]
    assert brief(f for f in run.found if f is not finding) == []
    return finding


def test_one_long_callback_is_a_stall(saturated):
    before = len(saturated.truth("cpu_stall"))
    with seen(saturated) as run:
        drive(saturated, ["/one/5000"] * TIMES, concurrency=1)
    lines = saturated.truth("cpu_stall")[before:]
    lengths = [(line["end_ns"] - line["start_ns"]) / 1e6 for line in lines]
    finding = tallied(run)
    assert finding["count"] == TIMES
    slack = SAMPLED_MS * TIMES
    assert sum(lengths) - run.delay_ms - slack <= finding["duration_ms"]["total"]
    assert finding["duration_ms"]["total"] <= sum(lengths) + slack


def test_callbacks_are_told_apart_everywhere(interpreter, loop):
    """One of thousands, and one for all: by the context that each callback runs in."""
    with Service("saturated:app", loop=loop, interpreter=interpreter) as service:
        with seen(service) as many:
            get(service, "/callbacks/5000")
        with seen(service) as single:
            get(service, "/one/5000")
    assert [finding["kind"] for finding in many.found] == ["loop_saturated"]
    assert tallied(single)["count"] == 1


def test_callbacks_with_room_between(saturated):
    with seen(saturated) as run:
        get(saturated, "/spread/5000/1")
    assert brief(run.found) == []


# ---- pages from the disk ---------------------------------------------------------------


def test_page_faults(loop):
    with Service("pagefault:app", loop=loop) as service:
        with seen(service) as run:
            drive(service, ["/fault/8000"] * TIMES, concurrency=1)
        lines = service.truth("page_fault")
        with seen(service) as twin:
            drive(service, ["/fault-thread/8000"] * 2, concurrency=1)
    asleep = [length_ms(line) - line["cpu_ns"] / 1e6 for line in lines]
    assert min(asleep) >= 20, "the disk is too fast for this test"
    found = [finding for finding in run.found if finding["kind"] == "page_fault"]
    assert len(found) == 1, brief(run.found)
    (finding,) = found
    assert finding["route"] == "/fault/{pages}"
    assert finding["culprit"]["qualname"] == "fault"
    assert finding["count"] == TIMES
    slack = max(EXACT_MS * TIMES, EXACT_SHARE * sum(asleep))
    faults = sum(line["major_faults"] for line in lines)
    more = finding["duration_ms"]["total"] - sum(asleep)
    # There is a wake-up in 30 us; what was stolen on the CPU is here taken for sleep.
    least = -slack - run.stolen_ms
    assert least <= more <= slack + faults * WAKE_UP_MS, (more, faults, asleep)
    # Now and then a page is there before the thread sleeps.
    assert 0.98 * faults <= finding["calls"] <= faults
    assert brief(twin.found) == []


# ---- no CPU ------------------------------------------------------------------------------


def children(pid):
    """The process and all below it: each of the hogs forks the next one."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(children(int(child)) for child in below))


def test_no_cpu(loop):
    with Service("starved:app", loop=loop, cpu=0) as service:
        with cpu_hogs(0, 3) as hogs, seen(service) as run:
            crowd = children(hogs.pid)
            drive(service, ["/spin/60"] * TIMES, concurrency=1)
        lines = service.truth("cpu_starvation")
    delays = [line["run_delay_ns"] / 1e6 for line in lines]
    assert min(delays) >= 20
    (finding,) = run.findings("cpu_starvation")
    total = finding["duration_ms"]["total"]
    # The steps around the work that is logged wait as well; the kernel counts all of it.
    assert finding["count"] >= TIMES
    assert sum(delays) - EXACT_MS * TIMES <= total <= run.delay_ms + EXACT_MS * TIMES
    assert finding["culprit"] is None
    rival = re.fullmatch(r"python\S* \(pid (\d+)\) had the CPU", finding["detail"])
    assert rival, finding["detail"]
    assert int(rival[1]) in crowd
    stall = [f for f in run.findings() if f["kind"] not in ("cpu_starvation", "cpu_stall")]
    assert brief(stall) == []


def test_work_with_a_cpu_of_its_own(loop):
    with Service("starved:app", loop=loop) as service:
        with seen(service) as run:
            drive(service, ["/spin/2"] * 50, concurrency=1)
    assert brief(run.found) == []
