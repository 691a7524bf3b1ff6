# SPDX-License-Identifier: Apache-2.0
"""Each kind of finding against the log of the service that did it: count and total.

The requests of one loop run one after the other below one attach; each test then
looks at its own route. A healthy twin does as much and must not be found at all.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import (
    LOOPS,
    Connection,
    Service,
    attached,
    cpu_hogs,
    drive,
    get,
    length_ms,
    wait_until,
)

TIMES = 5
#: Of what is measured from events, for one occurrence.
EXACT_MS, EXACT_SHARE = 1.0, 0.01
#: Of what is sampled at 99 Hz: one sample more or less of an occurrence.
SAMPLED_MS = 1000 / 99


@dataclass(frozen=True)
class Case:
    kind: str
    path: str
    route: str
    twin: str | None
    sampled: bool = False
    syscall: str | None = None

    def __str__(self):
        return f"{self.kind}-{self.path.split('/')[1]}"


def call(path, route, twin, syscall):
    return Case("blocking_call", path, route, twin, syscall=syscall)


CASES = [
    call("/sleep/60", "/sleep/{ms}", "/sleep-async/60", "clock_nanosleep"),
    call("/sleep/25", "/sleep/{ms}", "/sleep-thread/60", "clock_nanosleep"),
    call("/sleep-parts/8/10", "/sleep-parts/{count}/{ms}", "/sleep-def/60", "clock_nanosleep"),
    call("/recv/60", "/recv/{ms}", "/recv-async/60", "recvfrom"),
    call("/recv-timeout/60", "/recv-timeout/{ms}", "/recv-async/60", "poll"),
    call("/epoll/60", "/epoll/{ms}", "/epoll-thread/60", "epoll_wait"),
    call("/epoll-sliced/3/20", "/epoll-sliced/{slices}/{ms}", "/epoll-thread/60", "epoll_wait"),
    call("/fifo/60", "/fifo/{ms}", "/fifo-thread/60", "openat"),
    call("/connect/60", "/connect/{ms}", None, "connect"),
    call("/subprocess/60", "/subprocess/{ms}", "/subprocess-async/60", None),
    Case("lock_wait", "/lock/60", "/lock/{ms}", "/lock-thread/60", syscall="futex"),
    Case("log_backpressure", "/log/20", "/log/{lines}", "/log-queued/20", syscall="write"),
    Case("cpu_stall", "/burn/80", "/burn/{ms}", "/burn-sliced/80", sampled=True),
    Case("cpu_stall", "/compress/6", "/compress/{times}", "/compress-thread/6", sampled=True),
    Case("gc_pause", "/collect", "/collect", "/collect-young", sampled=True),
]
PATHS = [case.path for case in CASES for _ in range(TIMES)]
TWINS = sorted({case.twin for case in CASES if case.twin})


# ---- what the service says ---------------------------------------------------------


def occurrences(service, case):
    """Lengths in ms of what was done in each request, by its own log."""
    lines = service.truth(case.kind, f"GET {case.route}")
    at_once = lines[0].get("parts", 1) if lines else 1
    lengths = [max(line["cpu_ns"] / 1e6, 0) if case.sampled else length_ms(line) for line in lines]
    return [
        sum(lengths[first : first + at_once]) for first in range(0, len(lengths), at_once)
    ]


def run_delay_ms(service):
    """How long the loop's thread was runnable without a CPU, so far."""
    return int(Path(f"/proc/{service.pid}/task/{service.pid}/schedstat").read_text().split()[1]) / 1e6


def others_fault(service, delay_before, finding):
    """Did the machine itself keep the loop from running meanwhile, as the finding says?"""
    return (
        finding["kind"] == "cpu_starvation"
        and finding["duration_ms"]["total"] <= run_delay_ms(service) - delay_before
    )


@contextmanager
def seen(service, *options):
    """An attach; its Run gets .found, all that the machine is not to blame for."""
    before = run_delay_ms(service)
    with attached(service, *options) as run:
        yield run
        after = run_delay_ms(service)
    assert run.status == 0, run.stderr
    delay = after - before
    run.found = [
        finding
        for finding in run.report["findings"]
        if finding["kind"] != "cpu_starvation" or finding["duration_ms"]["total"] > delay
    ]
    loss = run.report["loss"]
    assert loss["produced"] - loss["received"] - sum(loss["lost"].values()) == 0


def of_kind(run, kind, route=None):
    return [
        finding for finding in run.found if finding["kind"] == kind and finding["route"] == route
    ]


def one(run, kind, route=None):
    found = of_kind(run, kind, route)
    assert len(found) == 1, [(f["kind"], f["route"], f["culprit"]) for f in run.found]
    return found[0]
