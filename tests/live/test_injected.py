# SPDX-License-Identifier: Apache-2.0
"""`Depends` callables and middleware: how often, how long, and which of them is slow."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest
from harness import LOOPS, SERVICES, Connection, Service, attached, drive, get, stolen_ms
from kinds import brief

TIMES = 3
SLOW_MS = 200
#: Of times that are told by looks at the tasks of a request.
SLACK_MS, SLACK_SHARE = 15, 0.1
SOURCE = SERVICES / "injected.py"


@dataclass(frozen=True)
class Slow:
    """A callable that sleeps, and the function in which it does."""

    path: str
    callable: str
    qualname: str
    #: A thread runs it, whose work is timed exactly.
    threaded: bool = False

    @property
    def line(self):
        lines = SOURCE.read_text().splitlines()
        name = self.qualname.split(".")[0]
        return 1 + next(i for i, text in enumerate(lines) if text.endswith(f"  # {name}"))


SLOWS = [
    Slow("/slow/asynchronous", "asynchronous", "asynchronous"),
    Slow("/slow/synchronous", "synchronous", "synchronous", threaded=True),
    Slow("/slow/entering", "entering", "entering"),
    Slow("/slow/leaving", "leaving", "leaving"),
    Slow("/slow/entering-in-thread", "entering_in_thread", "entering_in_thread", threaded=True),
    Slow("/slow/class", "Page", "Page.__init__", threaded=True),
    Slow("/slow/instance", "Checker", "Checker.__call__"),
    Slow("/slow/helper", "through_helper", "through_helper"),
    Slow("/slow/of-the-route", "asynchronous", "asynchronous"),
    Slow("/nested", "inner", "inner"),
]
HEALTHY = ["/four/cached", "/quick", "/behind/plain", "/behind/based", "/behind/neither"]
PATHS = [slow.path for slow in SLOWS] + ["/four/new"] + HEALTHY


def close(found, expected, took):
    """What of three that is in the middle: a service may be late, as its answers tell."""
    slack = max(SLACK_MS, SLACK_SHARE * expected)
    return expected - slack <= found["p50"] <= expected + slack + max(took) - min(took)


async def wait_for_token(service):
    """A sync dependency of a request whose turn for the only thread comes late.

    Bounds of how long it waits, each the mean of all, in ms.
    """
    taking, wanting = Connection(service.port), Connection(service.port)
    await taking.open()
    await wanting.open()
    least, most = [], []

    async def take():
        await taking.request("GET", "/token/taken")
        return time.monotonic()

    for _ in range(TIMES):
        began = time.monotonic()
        taken = asyncio.create_task(take())
        await asyncio.sleep(0.02)
        wanted = time.monotonic()
        await wanting.request("GET", "/token/wanted")
        least.append(SLOW_MS - (wanted - began) * 1e3)
        most.append((await taken - wanted) * 1e3)
    taking.close()
    wanting.close()
    return mean(least), mean(most)


def run_delay_ms(pid):
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6


@pytest.fixture(scope="module", params=LOOPS)
def run(request):
    with Service("injected:app", loop=request.param) as service:
        drive(service, PATHS, concurrency=1)
        get(service, "/threads/1")
        with attached(service) as run:
            kept = -run_delay_ms(run.pid) - stolen_ms()
            answers = drive(service, PATHS * TIMES, concurrency=1)
            run.waited_ms = asyncio.run(wait_for_token(service))
            kept += run_delay_ms(run.pid) + stolen_ms()
        assert run.status == 0, run.stderr
        run.took = {path: [] for path in PATHS}
        for path, answer in zip(PATHS * TIMES, answers, strict=True):
            run.took[path].append(answer.seconds * 1e3)
        # What is short lasts until the next look, which is late when loopscope has no CPU.
        # What its request sleeps is never in it.
        run.short_ms = min(SLACK_MS + kept, SLOW_MS / 4)
        yield run


def injected(run, route):
    return {
        row["callable"].removeprefix("injected."): row
        for row in run.report["injected"]
        if row["route"] == route
    }


@pytest.mark.parametrize("slow", SLOWS, ids=lambda slow: slow.path)
def test_slow_callable(run, slow):
    row = injected(run, slow.path)[slow.callable]
    assert (row["method"], row["calls"], row["calls_per_request"]) == ("GET", TIMES, 1)
    assert row["sampled"] is not slow.threaded
    took = run.took[slow.path]
    for times in (row["time_ms"], row["own_ms"]):
        assert times["count"] == TIMES
        assert close(times, SLOW_MS, took)
        # Two looks tell one of them, and either may be late.
        assert SLOW_MS / 2 <= times["min"]
        assert times["max"] <= max(took) + run.short_ms
    (finding,) = run.findings("slow_di_dependency", slow.path)
    culprit = finding["culprit"]
    assert (culprit["file"], culprit["qualname"]) == (str(SOURCE), slow.qualname)
    assert culprit["line"] == slow.line
    assert finding["detail"] == f"injected.{slow.callable}"
    assert finding["count"] == finding["requests"] == TIMES
    assert close(finding["duration_ms"], SLOW_MS, took)
    assert finding["evidence"] == ("exact" if slow.threaded else "sampled")
    assert finding["blocks_loop"] is False


def test_nothing_else_is_found(run):
    expected = sorted([slow.path for slow in SLOWS] + ["/four/new"])
    found = [finding for finding in run.report["findings"] if finding["kind"] != "cpu_starvation"]
    # Whoever takes the only thread is to blame, not what waits for it.
    (taken,) = [finding for finding in found if finding["kind"] == "threadpool_exhaustion"]
    assert taken["route"] == "/token/taken"
    found.remove(taken)
    assert sorted(finding["route"] for finding in found) == expected, brief(found)


def test_with_and_without_what_is_below(run):
    found = injected(run, "/nested")
    assert sorted(found) == ["inner", "outer"]
    outer = found["outer"]
    took = run.took["/nested"]
    assert close(outer["own_ms"], SLOW_MS / 4, took)
    assert close(outer["time_ms"], SLOW_MS * 5 / 4, took)
    assert outer["calls_per_request"] == 1


def test_executed_four_times(run):
    found = injected(run, "/four/new")
    assert {name.rsplit(".", 1)[-1] for name in found} == {"user", "one", "two", "three"}
    user = found["user"]
    assert (user["calls"], user["calls_per_request"]) == (4 * TIMES, 4)
    took = run.took["/four/new"]
    assert close(user["own_ms"], 30, took)
    (finding,) = run.findings("n_plus_one")
    assert finding["route"] == "/four/new"
    assert finding["detail"] == "injected.user"
    assert finding["culprit"]["line"] == Slow("", "", "user").line
    assert finding["culprit"]["file"] == str(SOURCE)
    assert finding["calls_per_request"] == 4
    assert finding["calls"] == 4 * TIMES
    assert finding["count"] == finding["requests"] == TIMES
    assert close(finding["duration_ms"], 120, took)


def test_cached_is_executed_once(run):
    found = injected(run, "/four/cached")
    assert (found["user"]["calls"], found["user"]["calls_per_request"]) == (TIMES, 1)
    assert close(found["user"]["own_ms"], 30, run.took["/four/cached"])


def test_endpoint_is_not_its_dependency(run):
    found = injected(run, "/quick")
    assert sorted(found) == ["kept_open", "quick", "quick_in_thread"]
    for row in found.values():
        assert row["calls_per_request"] == 1
        assert row["time_ms"]["max"] is None or row["time_ms"]["max"] <= run.short_ms


def test_waiting_for_a_thread_is_not_the_callable(run):
    (row,) = injected(run, "/token/wanted").values()
    assert row["calls"] == TIMES
    assert row["own_ms"]["max"] <= run.short_ms
    (route,) = [route for route in run.report["routes"] if route["route"] == "/token/wanted"]
    least, most = run.waited_ms
    assert least - SLACK_MS <= route["time_ms"]["thread_queue"] / TIMES <= most + SLACK_MS


@pytest.mark.parametrize(
    "path, name", [("/behind/plain", "PlainMiddleware"), ("/behind/based", "OwnTime")]
)
def test_middleware_that_waits(run, path, name):
    """Its own time, not that of the endpoint, which is twice as long."""
    found = {row["class"]: row for row in run.report["middleware"] if row["route"] == path}
    row = found.pop(name)
    assert row["calls"] == TIMES
    assert row["time_ms"]["count"] == TIMES
    assert close(row["time_ms"], 100, run.took[path])
    for other in found.values():
        assert other["time_ms"]["max"] <= run.short_ms


def test_middleware_that_does_not(run):
    for row in run.report["middleware"]:
        if row["route"] not in ("/behind/plain", "/behind/based"):
            assert row["time_ms"]["max"] <= run.short_ms, row
