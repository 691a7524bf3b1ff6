# SPDX-License-Identifier: Apache-2.0
"""What the tests of findings have in common: an attach, and what is told by it."""

import os
from contextlib import contextmanager
from pathlib import Path

from harness import attached, get, stolen_ms

#: Of what is measured from events, for one occurrence.
EXACT_MS, EXACT_SHARE = 1.0, 0.01
#: What the counters of /proc/stat do not show yet.
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
#: A step in which a sample falls is a stall from there on.
STALL_MS = 20


def run_delay_ms(service):
    """How long the thread of the loop had no CPU though it wanted one, so far."""
    schedstat = Path(f"/proc/{service.pid}/task/{service.pid}/schedstat").read_text()
    return int(schedstat.split()[1]) / 1e6


@contextmanager
def seen(service, *options):
    """An attach; its Run gets .found: what the machine has no part in."""
    before, stolen = run_delay_ms(service), stolen_ms()
    with attached(service, *options) as run:
        yield run
        # An answer is there before its step is over: with the next one, it is.
        get(service, "/ping")
        run.delay_ms = run_delay_ms(service) - before
        # Where there is no hypervisor that takes CPUs there is no tick of it either.
        run.stolen_ms = stolen_ms() - stolen + TICK_MS if stolen_ms() else 0
    assert run.status == 0, run.stderr
    loss = run.report["loss"]
    assert loss["produced"] - loss["received"] - sum(loss["lost"].values()) == 0
    run.found = [f for f in run.report["findings"] if not by_the_machine(run, f)]


def by_the_machine(run, finding):
    """A busy machine is no fault of the service, and the kernel has counted it as well."""
    total = finding["duration_ms"]["total"]
    if finding["kind"] == "cpu_starvation":
        return total <= run.delay_ms + EXACT_MS
    # Of a thread whose CPU is stolen the probes, too, know no better than that it runs.
    stolen = run.stolen_ms > TICK_MS
    return finding["kind"] == "cpu_stall" and stolen and total <= run.stolen_ms + STALL_MS


def late_ms(lags, holds):
    """How late the ticks of a service were in which a thread had the GIL, by its log.

    Others are late as well, where the timer or a CPU is.
    """
    return [
        late / 1e6
        for line in lags
        for began, late in zip(line["began_ns"], line["late_ns"], strict=True)
        if any(
            hold["start_ns"] < began + 1_000_000 + late and began < hold["end_ns"]
            for hold in holds
        )
    ]


def brief(findings):
    return [
        (
            finding["kind"],
            finding["route"],
            finding["culprit"] and finding["culprit"]["qualname"],
            finding["count"],
            finding["duration_ms"]["total"],
        )
        for finding in findings
    ]


def at(run, kind, route, file, function):
    """The findings of a kind in a route at a function, its comprehensions included."""
    return [
        finding
        for finding in run.findings()
        if (finding["kind"], finding["method"], finding["route"]) == (kind, "GET", route)
        and finding["culprit"]["file"] == file
        and finding["culprit"]["qualname"].split(".")[0] == function
    ]
