# SPDX-License-Identifier: Apache-2.0
"""Whatever clients send: no crash, and the right numbers for everybody else.

Everything below happens under one attach for each server, with good requests in
between; the tests look at what was reported.
"""

import random
import socket
import ssl
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from clients import Client, ask, request_bytes
from harness import HOST, attached, unread, wait_until
from kinds import brief
from venvs import LOGGING, SERVERS, certificate_in, rows_of

GOOD = 5
CONNECTIONS = 3_000
#: So many may wait to be accepted: thousands of them in one step are a stall.
WAITING = 100
#: To accept them takes a slow machine longer than what is slow otherwise.
STALL_MS = 200
NEVER = 20
PIPELINED = 40
MIB = 1 << 20


@dataclass
class Trouble:
    """What the clients saw: statuses by row, None where a connection just ended."""

    server: object
    statuses: dict = field(default_factory=lambda: defaultdict(Counter))
    run: object = None

    def saw(self, name, reply):
        self.statuses[name][reply.status] += 1


def raw(port, data, reads=True):
    """Bytes on a connection of their own; what comes back until it is closed."""
    with Client(port, seconds=1) as client:
        client.send(data)
        try:
            return client.reply() if reads else None
        except TimeoutError:
            return None


def half_a_request(port, trouble):
    """The end is missing; the client goes."""
    raw(port, b"GE", reads=False)
    raw(port, b"GET /ite", reads=False)
    client = Client(port)
    client.send(b"GET /text HTTP/1.1\r\nhost: ")
    client.reset()
    client = Client(port)
    client.send(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf")
    client.close()


GARBAGE = (
    random.Random(20).randbytes(5000),
    bytes(1000),
    b"HELLO WORLD\r\n\r\n",
    b"GET\r\n\r\n",
    b"\r\n\r\n\r\nx y z\r\n",
)


def garbage(port, trouble):
    for data in GARBAGE:
        reply = raw(port, data)
        if reply is not None and reply.status is not None:
            trouble.saw("garbage", reply)


def other_protocols(port, trouble):
    """TLS and HTTP/2 on a port of HTTP/1.1."""
    with socket.create_connection((HOST, port)) as plain, pytest.raises((ssl.SSLError, OSError)):
        plain.settimeout(2)
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    reply = raw(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    if reply is not None and reply.status is not None:
        trouble.saw("garbage", reply)


def large_headers(port, trouble):
    """The server may refuse while its client is still sending."""
    data = request_bytes("GET", "/empty", fields=[f"x-{n}: {'y' * 4096}" for n in range(256)])
    with Client(port) as client:
        try:
            client.send(data)
        except ConnectionError:
            pass
        trouble.saw("large", client.reply())


def odd_paths(port, trouble):
    """Bytes that are no UTF-8, encoded and not; a path longer than what is kept."""
    for path in (b"/plain/%ff%fe", b"/plain/\xff\xfe", b"/plain/" + b"z" * 2000):
        reply = raw(port, b"GET " + path + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        trouble.saw("odd", reply)


def many_connections(port, trouble):
    for number in range(CONNECTIONS):
        client = socket.create_connection((HOST, port))
        if number % 3 == 0:
            client.shutdown(socket.SHUT_WR)
        client.close()
        if number % WAITING == 0:
            wait_until(lambda: not unread(port), 5, "the server to accept")


def pipelined(port, trouble):
    """More in one send than the probes keep of it."""
    with Client(port) as client:
        client.send(request_bytes("GET", "/items/4/reviews") * PIPELINED)
        for _ in range(PIPELINED):
            trouble.saw("GET /items/{item_id}/reviews", client.reply())


SCRIPT = (
    half_a_request,
    garbage,
    other_protocols,
    large_headers,
    odd_paths,
    many_connections,
    pipelined,
)


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def trouble(request):
    trouble = Trouble(request.param)
    with request.param.service(arguments=("--backlog", 4096)) as service:
        port = service.port
        ask(port, "GET", "/items")
        with Client(port) as good, attached(service, "--stall", STALL_MS) as trouble.run:
            never = [Client(port) for _ in range(NEVER)]
            for client in never:
                client.send(request_bytes("GET", "/never"))
            for act in SCRIPT:
                act(port, trouble)
                for _ in range(GOOD):
                    trouble.saw("GET /items", good.ask("GET", "/items"))
                    trouble.saw("GET /text", ask(port, "GET", "/text"))
        for client in never:
            client.close()
    return trouble


def test_it_ends_well(trouble):
    assert (trouble.run.status, trouble.run.stderr) == (0, "")
    assert not any(trouble.run.report["loss"]["lost"].values())
    # Connections are objects: to collect them may take a while.
    others = [f for f in trouble.run.findings() if f["kind"] not in ("gc_pause", "cpu_starvation")]
    assert brief(others) == []


def test_good_requests_are_all_there(trouble):
    count = GOOD * len(SCRIPT)
    for name, length in (("GET /items", count), ("GET /text", count)):
        row = rows_of(trouble.run)[name]
        assert trouble.statuses[name] == {200: length}
        assert (row["requests"], row["status"], row["ongoing"]) == (length, {"200": length}, 0)
        assert row["latency_ms"]["count"] == length and row["aborted"] == 0
        assert row["latency_ms"]["max"] < 1000


def test_refused_and_odd_requests_are_what_clients_saw(trouble):
    rows = rows_of(trouble.run)
    for name, key in (("GET /empty", "large"), ("GET /plain/{name}", "odd")):
        seen = {str(status): count for status, count in trouble.statuses[key].items()}
        assert rows[name]["status"] == seen, (name, key)
    # What is no request has an answer all the same, and no route.
    answered = Counter()
    for name, row in rows.items():
        if name.endswith("<unmatched>"):
            answered += Counter(row["status"])
    for status, count in trouble.statuses["garbage"].items():
        assert answered[str(status)] >= count, (answered, trouble.statuses["garbage"])


def test_what_is_no_http_is_counted(trouble):
    """With TLS and HTTP/2, which are none here."""
    told = trouble.run.report["self"]["counters"]["connections_not_http"]
    assert told == len(GARBAGE) + 2


def test_requests_that_never_end(trouble):
    rows = rows_of(trouble.run)
    assert (rows["GET /never"]["requests"], rows["GET /never"]["ongoing"]) == (0, NEVER)
    upload = rows["POST /upload"]
    assert (upload["requests"], upload["aborted"], upload["status"]) == (1, 1, {})


def test_pipelined_beyond_what_is_kept(trouble):
    rows = rows_of(trouble.run)
    assert trouble.statuses["GET /items/{item_id}/reviews"] == {200: PIPELINED}
    answered = rows["GET /items/{item_id}/reviews"]["status"]["200"]
    # Where the loop writes outside of frames nothing tells their route: none is made up.
    unmatched = [row for name, row in rows.items() if name.endswith("<unmatched>")]
    nameless = sum(row["status"].get("200", 0) for row in unmatched)
    assert answered + nameless == PIPELINED and answered >= 5
    assert trouble.server.packages == "uvloop-0.21" or nameless == 0


def test_no_other_rows(trouble):
    known = {"GET /items", "GET /text", "GET /empty", "GET /plain/{name}", "GET /never"}
    known |= {"GET /items/{item_id}/reviews", "POST /upload"}
    known |= {f"{method} <unmatched>" for method in ("None", "GET", "PRI", "GE")}
    assert set(rows_of(trouble.run)) <= known
    assert all(not row["folded"] for row in rows_of(trouble.run).values())


# ---- TLS -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("server", [*SERVERS[:3], SERVERS[4]], ids=str)
def test_tls_clients_that_say_goodbye_or_nothing(server, certificate):
    """A good-bye is no request, nor is a connection that is given up."""
    if server.packages == "uvloop-0.21":
        certificate += LOGGING
    with server.service(arguments=certificate) as service, attached(service) as run:
        for number in range(6):
            with Client(service.port, tls=True) as client:
                for _ in range(3):
                    assert client.ask("GET", "/empty").status == 200
                if number % 2:
                    client.socket.unwrap()
        raw(service.port, request_bytes("GET", "/text"))
        Client(service.port).close()
    assert (run.status, run.stderr) == (0, "")
    row = rows_of(run)["GET /empty"]
    assert (row["requests"], row["aborted"], row["ongoing"]) == (18, 0, 0)
    assert row["status"] == {"200": 18}
    # What was asked without TLS has no answer.
    row = rows_of(run).pop("GET /text")
    assert (row["requests"], row["aborted"], row["status"]) == (1, 1, {})
    assert set(rows_of(run)) == {"GET /empty", "GET /text"}
