# SPDX-License-Identifier: Apache-2.0
"""Servers that listen at a Unix socket: what arrives there is seen when it is read."""

import http.client
import socket
import time
from contextlib import closing

import pytest
from harness import attached
from test_requests import adds_up
from venvs import SERVERS, rows_of

HELD_MS, TIMER_MS = 160, 400
#: What a task waits for is told by looks, which are so far apart at most.
LOOK_MS = 100


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def timed(connection, path):
    """Milliseconds of a GET."""
    began = time.monotonic()
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return (time.monotonic() - began) * 1e3


@pytest.mark.parametrize("server", [SERVERS[0], SERVERS[3], SERVERS[4]], ids=str)
def test_behind_a_unix_socket(server):
    """Nothing tells when a request arrived: what is read is timed from then on, and said so."""
    paths = {
        "GET /items": ("/items", None),
        "GET /sleep/{ms}": (f"/sleep/{TIMER_MS}", "timer_wait"),
        "GET /burn/{ms}": (f"/burn/{HELD_MS}", "loop_cpu"),
        "GET /block/{ms}": (f"/block/{HELD_MS}", "loop_blocked"),
    }
    # It writes where no frame tells for whom, and there is no client's port that would.
    known = server.packages != "uvloop-0.21"
    with server.service(unix=True) as service:
        with closing(UnixConnection(service.socket)) as connection:
            timed(connection, "/items")
            with attached(service) as run:
                took = {
                    name: [timed(connection, path) for _ in range(3)]
                    for name, (path, _) in paths.items()
                }
    assert run.status == 0
    # Where others have the CPU a burn lasts for so long that it is said.
    assert all(line.startswith("stalled ") for line in run.stderr.splitlines()), run.stderr
    rows = rows_of(run)
    assert set(rows) == set(paths)
    assert all(finding["victims"] == [] for finding in run.report["findings"])
    for name, (_, part) in paths.items():
        row = rows[name]
        assert row["requests"] == row["from_read"] == row["latency_ms"]["count"] == 3
        assert row["status"] == {"200": 3}
        assert row["latency_ms"]["max"] <= max(took[name])
        adds_up(name, row)
        if part:
            ms = TIMER_MS if part == "timer_wait" else HELD_MS
            assert row["latency_ms"]["min"] >= ms - 1
            least = ms - LOOK_MS if part == "timer_wait" else 0.7 * ms
            part = part if known else "other_wait"
            assert row["time_ms"][part] >= 3 * least, (name, row["time_ms"])
