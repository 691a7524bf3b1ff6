# SPDX-License-Identifier: Apache-2.0
"""Locks of asyncio and AnyIO that many requests wait for: who waits, and who holds them."""

import re

import pytest
from harness import LOOPS, SERVICES, Service, attached, drive, find_interpreter, get

HELD_MS, CALLERS, REQUESTS = 70, 6, 30
#: Route whose requests wait, the one that holds the lock then, and the kind of lock.
CONVOYS = {
    "plain": ("/plain/{ms}", "/plain/{ms}", "asyncio.Lock"),
    "rebuilt": ("/rebuilt", "/rebuild/{ms}", "asyncio.Lock"),
    "condition": ("/condition/{ms}", "/condition/{ms}", "asyncio.Lock"),
    "anyio": ("/anyio/{ms}", "/anyio/{ms}", "anyio.Lock"),
}
PATHS = {
    "plain": [f"/plain/{HELD_MS}"],
    "rebuilt": ["/rebuilt", "/rebuilt", f"/rebuild/{HELD_MS}"],
    "condition": [f"/condition/{HELD_MS}"],
    "anyio": [f"/anyio/{HELD_MS}"],
}
HEALTHY = {
    "short": [f"/short/{HELD_MS}"],
    "key": [f"/key/{key}/{HELD_MS}" for key in range(CALLERS)],
    "news": [f"/news/{HELD_MS}"],
}


def line_of(name):
    source = (SERVICES / "convoys.py").read_text().splitlines()
    return next(n for n, text in enumerate(source, 1) if re.search(rf"  # {name}$", text))


@pytest.fixture(scope="module", params=LOOPS)
def service(request):
    with Service("convoys:app", loop=request.param) as service:
        get(service, "/ping")
        yield service


def run_of(service, paths, callers=CALLERS):
    drive(service, paths, concurrency=1)
    with attached(service) as run:
        drive(service, paths * (REQUESTS // len(paths)), concurrency=callers)
    run.longest_ms = get(service, "/longest").json()
    run.found = [f for f in run.report["findings"] if f["kind"] != "cpu_starvation"]
    return run


def of_the_service(run):
    return {v["verdict"] for v in run.report["verdicts"]} - {"cpu_starved"}


def check(run, name):
    waits, holds, kind = CONVOYS[name]
    found = [f for f in run.found if f["route"] == waits]
    (finding,) = found
    assert {f["kind"] for f in run.found} == {"lock_wait"}
    assert (finding["kind"], finding["method"]) == ("lock_wait", "GET")
    assert not finding["blocks_loop"]
    assert finding["culprit"]["line"] == line_of(name)
    assert finding["count"] >= REQUESTS / 3
    assert finding["requests"] == finding["count"]
    assert finding["duration_ms"]["p50"] >= HELD_MS
    pool = finding["pool"]
    assert (pool["kind"], pool["size"], pool["in_use"]) == (kind, 1, 1)
    assert 2 <= pool["waiters"] <= CALLERS - 1
    (holder,) = pool["holders"]
    assert (holder["route"], holder["method"]) == (holds, "GET")
    assert holder["call_site"]["line"] == line_of(f"{name} held")
    # A loop that wakes up late holds it for longer.
    assert 0 < holder["since_ms"] <= max(HELD_MS, run.longest_ms) + 10
    (route,) = [row for row in run.report["routes"] if row["route"] == waits]
    assert route["time_ms"]["pool_wait"] > sum(route["time_ms"].values()) / 3
    verdicts = [v for v in run.report["verdicts"] if v["verdict"] == "pool_exhausted"]
    named = {v["finding"] for v in verdicts}
    assert named
    assert named <= {f["id"] for f in run.found}
    assert of_the_service(run) <= {"pool_exhausted", "healthy"}
    assert f"held by GET {holds}" in verdicts[0]["text"]


@pytest.mark.parametrize("name", CONVOYS)
def test_convoy(service, name):
    check(run_of(service, PATHS[name]), name)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_twin(service, name):
    run = run_of(service, HEALTHY[name])
    assert run.found == []
    assert of_the_service(run) <= {"healthy"}


@pytest.mark.parametrize("name", CONVOYS)
def test_one_at_a_time(service, name):
    run = run_of(service, PATHS[name], callers=1)
    assert run.found == []
    assert of_the_service(run) <= {"healthy"}


@pytest.mark.parametrize("version", ["3.12", "3.13-shared", "3.14-shared"])
def test_other_versions(version):
    """What tells a holder is on the stack of its frame, which differs."""
    with Service("convoys:app", interpreter=find_interpreter(version)) as service:
        get(service, "/ping")
        check(run_of(service, PATHS["plain"]), "plain")
