# SPDX-License-Identifier: Apache-2.0
"""Behind a proxy that Uvicorn trusts: the client it tells is not the peer of the socket."""

import pytest
from harness import LOOPS, Service, attached, drive, get
from servers import Upstream

TIMES = 5
#: Path, its route, and where all of a request's time goes; that part, in ms.
WAITS = [
    ("/peer/200", "/peer/{ms}", "dependency_wait", 200),
    ("/timer/150", "/timer/{ms}", "timer_wait", 150),
    ("/thread/150", "/thread/{ms}", "thread_run", 150),
]
BLOCK_MS = 60


@pytest.fixture(scope="module", params=LOOPS)
def run(request):
    with (
        Upstream() as upstream,
        Service(
            "judged:app",
            loop=request.param,
            env={"LOOPSCOPE_UPSTREAM": upstream.port},
            headers=("x-forwarded-for: 203.0.113.7",),
        ) as service,
    ):
        assert get(service, "/client").json() == ["203.0.113.7", 0]
        with attached(service) as run:
            drive(service, [path for path, *_ in WAITS] * TIMES, concurrency=2)
            drive(service, [f"/block/{BLOCK_MS}"] * TIMES, concurrency=1)
        assert run.status == 0, run.stderr
        yield run


def row_of(run, route):
    (row,) = [row for row in run.report["routes"] if row["route"] == route]
    return row


@pytest.mark.parametrize("path, route, part, ms", WAITS)
def test_where_the_time_goes(run, path, route, part, ms):
    row = row_of(run, route)
    assert (row["requests"], row["status"]) == (TIMES, {"200": TIMES})
    total = sum(row["time_ms"].values())
    assert total == pytest.approx(row["latency_ms"]["mean"] * TIMES, rel=0.05)
    # Looks are 10 to 100 ms apart: the first of a wait may have been that late.
    assert 0.75 * ms * TIMES <= row["time_ms"][part], row["time_ms"]


def test_the_peer_is_the_routes(run):
    (row,) = [row for row in run.report["dependencies"] if row["route"] == "/peer/{ms}"]
    assert (row["calls"], row["calls_per_request"]) == (TIMES, 1)
    (finding,) = run.findings("slow_dependency")
    assert (finding["route"], finding["requests"]) == ("/peer/{ms}", TIMES)


def test_the_call_is_the_routes(run):
    (finding,) = run.findings("blocking_call")
    assert (finding["route"], finding["requests"]) == ("/block/{ms}", TIMES)
    assert row_of(run, "/block/{ms}")["time_ms"]["loop_blocked"] >= 0.95 * BLOCK_MS * TIMES
