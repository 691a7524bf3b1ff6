# SPDX-License-Identifier: Apache-2.0
"""Each kind of finding while events are lost on purpose: none, 5 %, 50 % of them.

Whether an event is dropped is a draw of its own, so of N occurrences as many are
left as a binomial distribution says. Bounds are taken where one run in ten thousand
million would be outside. And without any chance in it: an occurrence that is missed
has lost at least one event, so what is found and what is lost together are enough
for what the service did.
"""

import os
from dataclasses import dataclass
from math import comb

import pytest
from harness import LOOPS, Service, cpu_hogs, drive, length_ms
from kinds import EXACT_MS, EXACT_SHARE, at, brief, late_ms, seen

UNLIKELY = 1e-10
PER_MILLE = (0, 50, 500)
STALL_MS = 10
RATE_HZ = 499
OPTIONS = ("--stall", STALL_MS, "--rate", RATE_HZ)
#: So many that half of the events cannot all be there, nor all be lost.
TIMES = {0: 6, 50: 24, 500: 36}
#: So many that not even 95 % can all be there.
MANY = 460


@dataclass(frozen=True)
class Load:
    kind: str
    path: str
    route: str
    function: str
    #: Of how many events an occurrence is made, and how many of them it takes.
    events: int = 1
    needed: int = 1
    #: Samples as well: some of them must be there.
    sampled: bool = False

    def __str__(self):
        return f"{self.kind}-{self.path.split('/')[1]}"


LOADS = [
    Load("blocking_call", "/sleep/15", "/sleep/{ms}", "sleep"),
    Load("blocking_call", "/sleep-parts/4/4", "/sleep-parts/{count}/{ms}", "sleep_parts", 4, 3),
    Load("lock_wait", "/lock/15", "/lock/{ms}", "lock"),
    Load("log_backpressure", "/log/4", "/log/{lines}", "log"),
    Load("cpu_stall", "/burn/20", "/burn/{ms}", "burn", sampled=True),
    Load("gc_pause", "/collect", "/collect", "collect", sampled=True),
]
HOLD = "/gil-kept/40"


# ---- what chance leaves -----------------------------------------------------------


def probability(n, k, p):
    return comb(n, k) * p**k * (1 - p) ** (n - k)


def least(n, p):
    """The lowest number of n that p leaves, but for an unlikely few."""
    below = 0.0
    for k in range(n + 1):
        below += probability(n, k, p)
        if below > UNLIKELY:
            return k
    return n


def most(n, p):
    return n - least(n, 1 - p)


def chances(load, per_mille):
    """That an occurrence is found: at least and at most."""
    kept = 1 - per_mille / 1000
    enough = range(load.needed, load.events + 1)
    chance = sum(probability(load.events, k, kept) for k in enough)
    # There are four samples and more in each.
    return chance * (1 - (1 - kept) ** 4) if load.sampled else chance, chance


# ---- what must be true of every attach ---------------------------------------------


def dropped(run, per_mille):
    """How many events are lost, once it is right that they are."""
    loss = run.report["loss"]
    lost = loss["lost"]["dropped_on_purpose"]
    assert sum(loss["lost"].values()) == lost
    kept = 1 - per_mille / 1000
    # Of so many draws the distribution is normal: 6.5 deviations are as unlikely.
    slack = 6.5 * (loss["produced"] * kept * (1 - kept)) ** 0.5
    assert abs(lost - (1 - kept) * loss["produced"]) <= slack
    assert (lost > 0) == (per_mille > 0)
    for finding in run.report["findings"]:
        assert (finding["evidence"] == "incomplete") == (per_mille > 0)
    return lost


def check_count(found, certain, possible, chance, lost):
    """Occurrences: `certain` ones are there without loss, `possible` ones may be."""
    count = sum(finding["count"] for finding in found)
    low, high = chance
    assert least(certain, low) <= count <= most(possible, high), brief(found)
    assert certain - count <= lost
    for finding in found:
        assert finding["duration_ms"]["count"] == finding["count"]
    return count


def check_total(found, lengths, more, less, walls=None):
    """Each occurrence found has its whole length; `more` and `less` are for one.

    Where `walls` are given it has up to that much.
    """
    count = sum(finding["count"] for finding in found)
    total = sum(finding["duration_ms"]["total"] for finding in found)
    if not found:
        return
    shortest = sum(sorted(lengths)[:count])
    longest = sum(sorted(walls or lengths)[-count:])
    slack = EXACT_SHARE * longest
    assert shortest - slack - less * count <= total <= longest + slack + more * count, brief(found)


def check_parts(finding, whole, between, parts, part, slack):
    """Of so many parts, each no shorter than `part`, some are lost with their length.

    Up to `between` of the whole is not in any of them.
    """
    total = finding["duration_ms"]["total"]
    missing = parts - finding["calls"]
    assert missing >= 0
    assert total <= whole - missing * part + slack
    assert total >= finding["calls"] * part - slack
    if not missing:
        assert total >= whole - between - slack


# ---- calls, locks, CPU, garbage, the GIL ---------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def stalls(request):
    with Service("stalls:app", loop=request.param) as service:
        drive(service, ["/log/4"] * 2, concurrency=1)  # fills the pipe
        yield service


@pytest.fixture(scope="module", params=PER_MILLE)
def everything(stalls, request):
    """All of it below one attach; what is lost, and what the service says of each."""
    per_mille = request.param
    times = TIMES[per_mille]
    before = {load: len(stalls.truth(load.kind, f"GET {load.route}")) for load in LOADS}
    lags, holds = len(stalls.truth("lag")), len(stalls.truth("gil_contention"))
    with seen(stalls, *OPTIONS, "--drop-events", per_mille) as run:
        for load in LOADS:
            drive(stalls, [load.path] * times, concurrency=1)
        # Now and then the loop comes to its tick when the thread is nearly done.
        drive(stalls, [HOLD] * (times + 4), concurrency=1)
    lines = {load: stalls.truth(load.kind, f"GET {load.route}")[before[load] :] for load in LOADS}
    late = late_ms(stalls.truth("lag")[lags:], stalls.truth("gil_contention")[holds:])
    return run, per_mille, lines, late


def done(load, lines):
    """Length of each occurrence, in ms, and by the clock; where; and of their shortest part.

    By the clock there is also what a hypervisor took of the CPU time.
    """
    parts = lines[0].get("parts", 1)
    walls = [length_ms(line) for line in lines]
    lengths = [line["cpu_ns"] / 1e6 for line in lines] if load.sampled else walls
    sums, by_clock = (
        [sum(each[first : first + parts]) for first in range(0, len(each), parts)]
        for each in (lengths, walls)
    )
    return sums, by_clock, lines[0]["file"], min(lengths)


@pytest.mark.parametrize("load", LOADS, ids=str)
def test_kinds_of_one_request(everything, load):
    run, per_mille, lines, _ = everything
    lost = dropped(run, per_mille)
    lengths, walls, file, shortest = done(load, lines[load])
    assert len(lengths) == TIMES[per_mille]
    lengths = [length for length in lengths if length >= STALL_MS]
    assert len(lengths) >= TIMES[per_mille] - 1  # a log line may find room
    found = at(run, load.kind, load.route, file, load.function)
    count = check_count(found, len(lengths), len(lengths), chances(load, per_mille), lost)
    assert len(found) == 1
    (finding,) = found
    assert finding["requests"] == count
    if load.sampled:
        # One sample more or less, and what the step did around the statement.
        check_total(found, lengths, 2 * 1000 / RATE_HZ, 2 * 1000 / RATE_HZ, walls)
        return
    assert count * load.needed <= finding["calls"] <= count * load.events
    whole = sum(lengths) / len(lengths)
    check_total(found, lengths, EXACT_MS, EXACT_MS + whole - load.needed * whole / load.events)
    assert finding["duration_ms"]["min"] >= load.needed * shortest - EXACT_MS


def test_gil_contention(everything):
    run, per_mille, _, late = everything
    lost = dropped(run, per_mille)
    # Where waits are most of what a loop does, those from 1 ms on are found as well.
    certain = [ms for ms in late if ms >= STALL_MS]
    possible = [ms for ms in late if ms >= 2]
    assert len(certain) >= TIMES[per_mille]
    found = [
        finding
        for finding in run.found
        if finding["kind"] == "gil_contention"
        and finding["culprit"]
        and finding["culprit"]["qualname"] == "burn_in_one_call"
    ]
    kept = 1 - per_mille / 1000
    count = check_count(found, len(certain), len(possible), (kept, kept), lost)
    assert len(found) == 1
    # The timer is up to a millisecond late.
    check_total(found, certain if count <= len(certain) else possible, more=0.2, less=1.2)


@pytest.mark.parametrize("per_mille", PER_MILLE)
def test_calls_and_loss_add_up(stalls, per_mille):
    """Hundreds of calls, and next to no other events: nothing is left to chance."""
    slices = MANY // 4
    before = len(stalls.truth("blocking_call", "GET /epoll-sliced/{slices}/{ms}"))
    with seen(stalls, *OPTIONS, "--drop-events", per_mille) as run:
        drive(stalls, [f"/epoll-sliced/{slices}/2"] * 4, concurrency=1)
    lines = stalls.truth("blocking_call", "GET /epoll-sliced/{slices}/{ms}")[before:]
    lost = dropped(run, per_mille)
    calls = slices * len(lines)
    others = run.report["loss"]["produced"] - calls
    assert others >= 0
    (finding,) = at(
        run, "blocking_call", "/epoll-sliced/{slices}/{ms}", lines[0]["file"], "sliced_epoll"
    )
    assert finding["count"] == len(lines)
    assert calls - lost <= finding["calls"] <= calls - lost + others
    lengths = [length_ms(line) for line in lines]
    slack = EXACT_SHARE * sum(lengths) + EXACT_MS * len(lines)
    on_cpu = sum(line["cpu_ns"] for line in lines) / 1e6
    check_parts(finding, sum(lengths), on_cpu, calls, 2, slack)
    assert (finding["calls"] < calls) == (per_mille > 0)


# ---- many small callbacks ------------------------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def saturated(request):
    with Service("saturated:app", loop=request.param) as service:
        yield service


@pytest.mark.parametrize("per_mille", PER_MILLE)
def test_loop_saturated(saturated, per_mille):
    times = TIMES[per_mille]
    before = len(saturated.truth("loop_saturated"))
    # A step is saturated from five times the threshold on: 20 ms.
    with seen(saturated, "--stall", 4, "--rate", RATE_HZ, "--drop-events", per_mille) as run:
        drive(saturated, ["/callbacks/1000"] * times, concurrency=1)
    lines = saturated.truth("loop_saturated")[before:]
    lost = dropped(run, per_mille)
    lengths = [(line["end_ns"] - line["start_ns"]) / 1e6 for line in lines]
    assert len(lengths) == times
    assert min(lengths) >= 22
    found = [finding for finding in run.found if finding["kind"] == "loop_saturated"]
    kept = 1 - per_mille / 1000
    check_count(found, times, times, (kept * (1 - (1 - kept) ** 4), kept), lost)
    assert len(found) == 1
    # The log does not know when the thread had no CPU, nor the step around its callbacks.
    around = 0.05 * max(lengths)
    check_total(found, lengths, EXACT_MS + around, EXACT_MS + around + run.delay_ms)


# ---- pages ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def paged(request):
    with Service("pagefault:app", loop=request.param) as service:
        yield service


@pytest.mark.parametrize("per_mille", PER_MILLE)
def test_page_fault(paged, per_mille):
    """Each fault takes long enough to be an event; how many there are is known."""
    times = TIMES[per_mille]
    pages = -(-MANY // times) if per_mille else 14
    before = len(paged.truth("page_fault"))
    # Below this threshold is no fault that is recorded: all that is left is found.
    with seen(paged, "--stall", 1, "--drop-events", per_mille) as run:
        drive(paged, [f"/served/{pages}/1.5"] * times, concurrency=1)
    lines = paged.truth("page_fault")[before:]
    lost = dropped(run, per_mille)
    asleep = [length_ms(line) - line["cpu_ns"] / 1e6 for line in lines]
    faults = pages * times
    assert sum(line["faults"] for line in lines) == faults
    found = [finding for finding in run.found if finding["kind"] == "page_fault"]
    assert len(found) == 1, brief(run.found)
    (finding,) = found
    assert finding["route"] == "/served/{pages}/{ms}"
    assert finding["culprit"]["qualname"] == "served_fault"
    kept = 1 - per_mille / 1000
    assert least(faults, kept) <= finding["calls"] <= most(faults, kept)
    assert faults - lost <= finding["calls"]
    slack = max(EXACT_MS * times, EXACT_SHARE * sum(asleep))
    check_parts(finding, sum(asleep), 0, faults, 1.5, slack)
    assert (finding["calls"] < faults) == (per_mille > 0)
    assert finding["count"] <= times
    if not per_mille:
        assert finding["count"] == times


# ---- no CPU ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def starved(request):
    """Beside one that gets a third of the CPU: the waits are less than half of a step."""
    with (
        Service("starved:app", loop=request.param, cpu=0) as service,
        cpu_hogs(0, 1) as hog,
    ):
        os.setpriority(os.PRIO_PROCESS, hog.pid, 3)
        yield service


@pytest.mark.parametrize("per_mille", PER_MILLE)
def test_cpu_starvation(starved, per_mille):
    times = TIMES[per_mille]
    before = len(starved.truth("cpu_starvation"))
    with seen(starved, *OPTIONS, "--drop-events", per_mille) as run:
        drive(starved, ["/spin/45"] * times, concurrency=1)
    lines = starved.truth("cpu_starvation")[before:]
    lost = dropped(run, per_mille)
    delays = [line["run_delay_ns"] / 1e6 for line in lines]
    # The log's clock and the probes' may be on both sides of the threshold.
    certain = [ms for ms in delays if ms >= STALL_MS + EXACT_MS]
    assert len(certain) >= times / 2
    # Where others want the CPU too, waits from 1 ms on are found around the work as well.
    crowded = any(line["run_delay_ns"] >= 0.9 * line["cpu_ns"] for line in lines)
    outside = run.delay_ms - sum(delays)
    others = int(outside / (1 if crowded else STALL_MS))
    found = run.findings("cpu_starvation")
    kept = 1 - per_mille / 1000
    count = check_count(found, len(certain), times + others, (kept, kept), lost)
    assert len(found) == 1
    assert found[0]["culprit"] is None
    total = found[0]["duration_ms"]["total"]
    slack = EXACT_MS * times
    assert sum(sorted(certain)[: max(count - others, 0)]) - slack <= total
    assert total <= run.delay_ms + slack
