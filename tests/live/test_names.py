# SPDX-License-Identifier: Apache-2.0
"""Names of peers: what the target asked a name server, never a wrong one."""

import pytest
from harness import LOOPS, Service, attached, drive, own_mounts
from servers import Upstream, clients_python

#: A resolv.conf of its own, for the service alone.
ENTER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
TIMES = 3


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module", params=LOOPS)
def run(request, upstream, tmp_path_factory):
    resolv = tmp_path_factory.mktemp("etc") / "resolv.conf"
    resolv.write_text(f"nameserver {upstream.names}\noptions timeout:5\n")
    service = Service(
        "names:app",
        loop=request.param,
        interpreter=clients_python(),
        env={"LOOPSCOPE_UPSTREAM": upstream.port},
        prefix=(*own_mounts(), "sh", "-c", ENTER, str(resolv)),
    )
    hosts = ["a1.test", "alias-a2.test", "127.9.0.3", "A4.test"]
    paths = [f"/ask/{host}" for host in hosts]
    paths += ["/ask-thread/a5.test"] * TIMES
    with service, attached(service) as run:
        for path in paths:
            assert {answer.status for answer in drive(service, [path])} == {200}
        # Two names of one address: it may be either.
        for host in ("alias-a6.test", "a6.test", "alias-a6.test"):
            assert {answer.status for answer in drive(service, [f"/ask/{host}"])} == {200}
    assert (run.status, run.stderr) == (0, "")
    return run


def names(run, upstream, route):
    return {
        row["peer"].removesuffix(f":{upstream.port}"): row["peer_name"]
        for row in run.report["dependencies"]
        if row["route"] == route and row["protocol"] == "http/1.1"
    }


def test_names_are_those_that_were_looked_up(run, upstream):
    told = names(run, upstream, "/ask/{host}")
    assert told.pop("127.9.0.6") != "a6.test"
    assert told == {
        "127.9.0.1": "a1.test",
        "127.9.0.2": "alias-a2.test",
        "127.9.0.3": None,
        "127.9.0.4": "a4.test",
    }
    assert names(run, upstream, "/ask-thread/{host}") == {"127.9.0.5": "a5.test"}


def test_look_ups_are_calls(run, upstream):
    """Both kinds of addresses are asked for in one go, each is a call of its own."""
    rows = [row for row in run.report["dependencies"] if row["peer"] == f"{upstream.names}:53"]
    assert {row["protocol"] for row in rows} == {"dns"}
    [row] = [row for row in rows if row["route"] == "/ask-thread/{host}"]
    assert row["calls"] == 2 * TIMES
    for row in rows:
        assert not row["unpaired"] and not row["errors"] and not row["unanswered"]
        assert row["latency_ms"]["count"] == row["calls"]
        # The first of two messages is there before the call that sends both is over, and
        # the name server may have the CPU meanwhile.
        assert 0 < row["latency_ms"]["min"]
        assert 15 <= row["latency_ms"]["p50"] < 30
    assert sum(row["calls"] for row in rows) == 2 * (3 + TIMES + 3)
