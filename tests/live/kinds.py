# SPDX-License-Identifier: Apache-2.0
"""What the tests of findings have in common: an attach, and what is told by it."""

from contextlib import contextmanager
from pathlib import Path

from harness import attached

#: Of what is measured from events, for one occurrence.
EXACT_MS, EXACT_SHARE = 1.0, 0.01


def run_delay_ms(service):
    """How long the thread of the loop had no CPU though it wanted one, so far."""
    schedstat = Path(f"/proc/{service.pid}/task/{service.pid}/schedstat").read_text()
    return int(schedstat.split()[1]) / 1e6


@contextmanager
def seen(service, *options):
    """An attach; its Run gets .found: what the machine has no part in."""
    before = run_delay_ms(service)
    with attached(service, *options) as run:
        yield run
        run.delay_ms = run_delay_ms(service) - before
    assert run.status == 0, run.stderr
    loss = run.report["loss"]
    assert loss["produced"] - loss["received"] - sum(loss["lost"].values()) == 0
    # A busy machine is no fault of the service, and the kernel has counted it as well.
    run.found = [
        finding
        for finding in run.report["findings"]
        if finding["kind"] != "cpu_starvation"
        or finding["duration_ms"]["total"] > run.delay_ms + EXACT_MS
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
        for finding in run.found
        if (finding["kind"], finding["method"], finding["route"]) == (kind, "GET", route)
        and finding["culprit"]["file"] == file
        and finding["culprit"]["qualname"].split(".")[0] == function
    ]
