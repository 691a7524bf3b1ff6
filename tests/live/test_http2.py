# SPDX-License-Identifier: Apache-2.0
"""Calls over HTTP/2: bytes, calls and how long a connection was silent, never paired."""

import pytest
from harness import LOOPS, Service, attached, drive
from servers import Http2, clients_python

MS = 60
TIMES = 3
ROUTES = ("kept", "new", "both", "tls")


@pytest.fixture(scope="module", params=LOOPS)
def run(request):
    with Http2() as upstream:
        env = {"LOOPSCOPE_UPSTREAM": upstream.port, "LOOPSCOPE_UPSTREAM_TLS": upstream.tls_port}
        service = Service(
            "http2:app", loop=request.param, interpreter=clients_python(), env=env
        )
        paths = [f"/{route}/{MS}" for route in ROUTES]
        with service:
            drive(service, paths, concurrency=1)
            with attached(service) as run:
                answers = drive(service, paths * TIMES, concurrency=1)
        assert {answer.status for answer in answers} == {200}
    assert (run.status, run.stderr) == (0, "")
    run.upstream = upstream
    return run


def row_of(run, name):
    [row] = [one for one in run.report["dependencies"] if one["route"] == f"/{name}/{{ms}}"]
    return row


@pytest.mark.parametrize("name", ROUTES)
def test_calls(run, name):
    """`kept` and `both` use a connection from before the attach."""
    row = row_of(run, name)
    port = run.upstream.tls_port if name == "tls" else run.upstream.port
    assert row["peer"] == f"127.0.0.1:{port}"
    assert row["protocol"] == ("tls" if name == "tls" else "http/2")
    assert row["unpaired"] is True
    assert row["statements"] == []
    assert row["calls"] == TIMES * (2 if name == "both" else 1)
    assert row["errors"] == row["failures"] == row["unanswered"] == 0
    assert row["bytes_sent"] > 0 < row["bytes_received"]
    latency = row["latency_ms"]
    assert latency["count"] == row["calls"]
    # Of two calls both are over with the first answer: whose it is nobody says.  What a
    # client acknowledges after its request counts as sent with it, and a client that has just
    # connected may come to that late.
    least = latency["p50"] if name == "new" else latency["min"]
    assert MS - 5 <= least
    assert latency["p50"] <= MS + 20
    assert latency["max"] < 2 * MS - 5


def test_nothing_else_was_called(run):
    assert len(run.report["dependencies"]) == len(ROUTES)
