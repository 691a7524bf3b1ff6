# SPDX-License-Identifier: Apache-2.0
"""Each slow step says where its time went, and the parts are the whole."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from harness import (
    LOOPS,
    Service,
    attached,
    cpu_hogs,
    drive,
    get,
    loading,
    wait_until,
)

SHARE = 0.01
#: JSON has microseconds: each of the parts may be one short.
ROUNDING_MS = 0.008
STOP_MS = 150
#: At least, of the requests that are stopped.
WORK_MS = 100


def steps_of(run):
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("kind") == "step"]


def check(steps):
    assert steps
    for step in steps:
        parts = step["parts_ms"]
        assert all(part >= 0 for part in parts.values()), step
        missing = abs(sum(parts.values()) - step["duration_ms"])
        assert missing <= SHARE * step["duration_ms"] + ROUNDING_MS, step


def follow(service, *options):
    return attached(service, "--stall", 5, "--follow", "-f", "json", *options, json_report=False)


def finish(service, paths, concurrency=1):
    """Requests, and one more: the step that answered the last of them is over then."""
    drive(service, paths, concurrency=concurrency)
    get(service, "/ping")


@pytest.fixture(scope="module", params=LOOPS)
def parts(request):
    with Service("parts:app", loop=request.param, cpu=0) as service:
        yield service


@pytest.mark.parametrize(
    ("path", "part", "least_ms"),
    [
        ("/sleep/60", "calls", 60),
        ("/burn/60", "cpu_user", 40),
        ("/kernel/2000", "cpu_kernel", 5),
        ("/fault/8000", "page_faults", 1),
        ("/gil/60", "gil", 40),
        ("/mixed/80", "calls", 20),
        ("/mixed/80", "cpu_user", 10),
    ],
)
def test_parts_of_a_step(parts, path, part, least_ms):
    with follow(parts) as run:
        finish(parts, [path] * 5)
    steps = steps_of(run)
    check(steps)
    assert len(steps) >= 5
    with_part = [step for step in steps if step["parts_ms"][part] >= least_ms]
    assert len(with_part) >= 3, steps


def test_a_step_without_a_cpu(parts):
    with cpu_hogs(0, 3), follow(parts) as run:
        finish(parts, ["/burn/30", "/sleep/30", "/mixed/40", "/gil/30"] * 3)
    steps = steps_of(run)
    check(steps)
    assert max(step["parts_ms"]["runnable"] for step in steps) >= 10


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("path", ["/burn/400", "/sleep/400", "/mixed/800"])
def test_a_step_that_is_stopped(parts, path):
    before = len(parts.truth("begun"))
    with follow(parts) as run:
        with loading(parts, [path], concurrency=1):
            # In the middle of the request, and not of a step before it.
            wait_until(lambda: len(parts.truth("begun")) > before, 5, f"{path} to begin")
            os.kill(parts.pid, signal.SIGSTOP)
            try:
                wait_until(lambda: state(parts.pid) == "T", 5, "the stop")
                time.sleep(STOP_MS / 1e3)
            finally:
                os.kill(parts.pid, signal.SIGCONT)
            get(parts, "/ping")
    steps = steps_of(run)
    check(steps)
    # A loop that is stopped in its wait has a step of that, too, and of nothing else.
    parts_ms = [step["parts_ms"] for step in steps]
    of_request = [each for each in parts_ms if each["calls"] + each["cpu_user"] >= WORK_MS]
    assert max(each["stopped"] for each in of_request) >= STOP_MS - 10, steps


def test_a_load_of_everything(parts):
    paths = ["/sleep/7", "/burn/7", "/mixed/10", "/fault/500", "/gil/10", "/kernel/500", "/ping"]
    with follow(parts) as run:
        finish(parts, paths * 10, concurrency=4)
    check(steps_of(run))
    assert get(parts, "/ping").status == 200
