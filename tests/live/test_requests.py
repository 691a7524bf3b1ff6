# SPDX-License-Identifier: Apache-2.0
"""Requests as the probes count and time them, against clients with a stop-watch.

LOOPSCOPE_REQUESTS=50000 is the long form; without it there are fewer.
"""

import os
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from clients import Client, WebSocket, ask, load, request_bytes
from harness import attached, unread, wait_until
from venvs import LOGGING, SERVERS, Server, certificate_in, rows_of

REQUESTS = int(os.environ.get("LOOPSCOPE_REQUESTS", "5000"))
#: What a percentile may be off.
EXACT_MS = 1.0
EXACT_SHARE = 0.02
PARTS_SHARE = 0.05
#: A service that has to give its CPU away in the middle of a send is done later than its
#: client: where others use the CPUs as well, some times of one load may be off, and others
#: of the next.
LOADS = 3


def rank(values, percent):
    """The nearest rank, which is what the report has."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def off_times(name, told, measured):
    """Percentiles of the report that are not those of the client, in ms."""
    assert told["count"] == len(measured), name
    own = {"min": min(measured), "max": max(measured)}
    own |= {f"p{percent}": rank(measured, percent) for percent in (50, 90, 99)}
    return [
        (name, key, told[key], value)
        for key, value in own.items()
        if abs(told[key] - value) > max(EXACT_MS, EXACT_SHARE * value)
    ]


def adds_up(name, row):
    """The parts are the latency."""
    total = row["latency_ms"]["mean"] * row["latency_ms"]["count"]
    parts = sum(row["time_ms"].values())
    assert abs(parts - total) <= PARTS_SHARE * total + 0.01, (name, row["time_ms"], total)


def compare(run, exchanges, route_of):
    """The report's rows are the requests of a load(), all of them and no others.

    Returns what is off about their times.
    """
    by_route = defaultdict(list)
    for exchange in exchanges:
        by_route[route_of(exchange)].append(exchange)
    rows = rows_of(run)
    counted = {name: row["requests"] for name, row in rows.items()}
    sent = {name: len(done) for name, done in by_route.items()}
    assert set(counted.items()) ^ set(sent.items()) == set()
    off = []
    for name, done in by_route.items():
        row = rows[name]
        statuses = Counter(str(exchange.status) for exchange in done)
        assert row["status"] == statuses, name
        assert row["errors"] == sum(exchange.status >= 500 for exchange in done), name
        assert not row["aborted"] and not row["ongoing"] and not row["folded"], name
        adds_up(name, row)
        off += off_times(name, row["latency_ms"], [one.latency_ms for one in done])
        off += off_times(name, row["first_byte_ms"], [one.first_byte_ms for one in done])
        seen = rank([one.seen_ms for one in done], 50)
        if abs(row["latency_ms"]["p50"] - seen) > max(EXACT_MS, EXACT_SHARE * seen):
            off.append((name, "seen", row["latency_ms"]["p50"], seen))
    return off


def off_each_time(loads):
    """Route and percentile of what was off in all loads so far."""
    return set.intersection(*({(name, key) for name, key, _, _ in off} for off in loads))


# ---- exactness ---------------------------------------------------------------------------

#: Route, status and request of what load() sends, in turn.
MIX = [
    ("GET /items", 200, ("GET", "/items")),
    ("GET /items/{item_id}", 200, ("GET", "/items/7?full=yes")),
    ("POST /items", 201, ("POST", "/items", "x" * 300)),
    ("PUT /items/{item_id}", 200, ("PUT", "/items/3", "abc")),
    ("DELETE /items/{item_id}", 204, ("DELETE", "/items/9")),
    ("POST /items/{item_id}", 405, ("POST", "/items/5")),
    ("GET /items/{item_id}/reviews", 200, ("GET", "/items/4/reviews")),
    ("GET /api/v2/items/{item_id}", 200, ("GET", "/api/v2/items/8")),
    ("GET /empty", 200, ("GET", "/empty")),
    ("GET /not-modified", 304, ("GET", "/not-modified")),
    ("GET /redirect", 307, ("GET", "/redirect")),
    ("GET /refused", 503, ("GET", "/refused")),
    ("GET /text", 200, ("GET", "/text")),
    ("GET /large/{size}", 200, ("GET", "/large/300000")),
    ("GET /stream/{parts}/{ms}", 200, ("GET", "/stream/3/1")),
    ("GET /stream-fast/{parts}/{size}", 200, ("GET", "/stream-fast/4/700")),
    ("GET /background/{ms}", 200, ("GET", "/background/1")),
    ("GET /sleep/{ms}", 200, ("GET", "/sleep/2")),
    ("GET /gather/{count}/{ms}", 200, ("GET", "/gather/3/2")),
    ("GET /thread/{ms}", 200, ("GET", "/thread/1")),
    ("GET /burn/{ms}", 200, ("GET", "/burn/0.3")),
    ("POST /upload", 200, ("POST", "/upload", "y" * 9000)),
    ("GET /sub/v1/things/{thing}", 200, ("GET", "/sub/v1/things/4")),
    ("GET /sub/v2/things/{thing}", 200, ("GET", "/sub/v2/things/4")),
    ("GET /static/{path}", 200, ("GET", "/static/page.txt")),
    ("GET /wrapped/plain/{name}", 200, ("GET", "/wrapped/plain/x")),
    ("GET /wrapped/deep/{n}", 200, ("GET", "/wrapped/deep/5")),
    ("HEAD /plain/{name}", 200, ("HEAD", "/plain/z")),
    ("GET /plain/{name}", 200, ("GET", "/plain/z")),
    ("GET <unmatched>", 404, ("GET", "/nowhere/5")),
    ("GET /broken", 500, ("GET", "/broken")),
]


def mixed(exchange):
    name, status, _ = MIX[exchange.index % len(MIX)]
    assert exchange.status == status, (name, exchange)
    return name


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "closed"])
def test_every_request_is_counted_and_timed(server, keep_alive):
    # Where no frame tells what is answered, looks at tasks must not tell anything else.
    count = 3 * REQUESTS if server.packages == "uvloop-0.21" and keep_alive else REQUESTS
    requests = [request for _, _, request in MIX] * (count // len(MIX))
    off = []
    with server.service() as service:
        load(service.port, [request for _, _, request in MIX], 4, keep_alive)
        for _ in range(LOADS):
            with attached(service) as run:
                exchanges = load(service.port, requests, 8, keep_alive, cpu=1)
            assert run.status == 0 and run.stderr == ""
            assert not any(run.report["loss"]["lost"].values())
            off.append(compare(run, exchanges, mixed))
            if not off_each_time(off):
                return
    pytest.fail(f"times are off: {off}")


# ---- kinds of requests -----------------------------------------------------------------


@dataclass
class Scene:
    """What was done to a service under one attach, by route, and what was reported."""

    service: object
    replies: dict = field(default_factory=lambda: defaultdict(list))
    run: object = None

    def row(self, name):
        return rows_of(self.run)[name]


@contextmanager
def until_begun(service):
    """Leaves when the endpoint of what is sent in the block runs; see tell() of traffic.py."""
    told = service.interpreter.outside(f"{service.folder}/begun")
    before = told.stat().st_size
    yield
    wait_until(lambda: told.stat().st_size > before, 5, "the endpoint")


def ask_in_pieces(port, client, data, sizes):
    """Send `data` cut into pieces of these sizes in turn; when each byte was sent.

    Each is read before the next one is sent: of those that are read together only the
    time of the last is known.
    """
    sent, at = [], 0
    own = client.socket.getsockname()[1]
    while at < len(data):
        size = sizes[len(sent) % len(sizes)]
        sent.append((at, client.send(data[at : at + size])))
        at += size
        wait_until(lambda: not unread(port, own), 5, "the server to read")
    return lambda offset: max(now for first, now in sent if first <= offset)


def pipelined(port, scene):
    """Three requests in one send; then three, cut at odd places."""
    with Client(port) as client:
        one = request_bytes("GET", "/items/7")
        sent = client.send(one * 3)
        scene.replies["GET /items/{item_id}"] += [client.reply(sent_ns=sent) for _ in range(3)]
    with Client(port) as client:
        many = [request_bytes("GET", f"/items/{n}/reviews?page={n}") for n in range(3)]
        replies = scene.replies["GET /items/{item_id}/reviews"]
        reader = threading.Thread(target=lambda: replies.extend(client.reply() for _ in many))
        reader.start()
        sent_at = ask_in_pieces(port, client, b"".join(many), (5, 31, 2, 50, 17))
        reader.join()
        for number, reply in enumerate(replies):
            reply.sent_ns = sent_at(sum(map(len, many[:number])))


def without_body(port, scene):
    """Responses to HEAD, 204 and 304 have none, whatever their headers say."""
    with Client(port) as client:
        for method, path, name in (
            ("HEAD", "/plain/a", "HEAD /plain/{name}"),
            ("GET", "/not-modified", "GET /not-modified"),
            ("GET", "/plain/a", "GET /plain/{name}"),
            ("DELETE", "/items/1", "DELETE /items/{item_id}"),
            ("GET", "/plain/b", "GET /plain/{name}"),
        ):
            scene.replies[name].append(client.ask(method, path))


UPLOAD_MS = 80


def expecting(port, scene):
    """The body comes a while after the server has said that it may."""
    body = b"x" * 5000
    with Client(port) as client:
        head = request_bytes("POST", "/upload", body, ("expect: 100-continue",))
        sent = client.send(head[: -len(body)])
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        time.sleep(UPLOAD_MS / 1e3)
        client.send(body)
        scene.replies["POST /upload"].append(client.reply(sent_ns=sent))


def uploading(port, scene):
    """The body comes in three pieces."""
    data = request_bytes("PUT", "/upload", b"x" * 3000)
    with Client(port) as client:
        sent = client.send(data[:-2000])
        for start in (-2000, -1000):
            time.sleep(UPLOAD_MS / 2e3)
            client.send(data[start : start + 1000 or None])
        scene.replies["PUT /upload"].append(client.reply(sent_ns=sent))


READ_MS = 120


def reading_late(port, scene):
    """A large response whose client does not read for a while."""
    with Client(port, receive_bytes=4096) as client:
        sent = client.send(request_bytes("GET", "/large/4000000"))
        time.sleep(READ_MS / 1e3)
        scene.replies["GET /large/{size}"].append(client.reply(sent_ns=sent))


PART_MS = 100


def streaming(port, scene):
    with Client(port) as client:
        for _ in range(2):
            scene.replies["GET /stream/{parts}/{ms}"].append(
                client.ask("GET", f"/stream/4/{PART_MS}")
            )


def unsized(port, scene):
    """HTTP/1.0: the end of the response is the end of the connection."""
    for _ in range(2):
        with Client(port) as client:
            sent = client.send(b"GET /stream-fast/3/50000 HTTP/1.0\r\n\r\n")
            reply = client.reply(sent_ns=sent)
            assert len(reply.body) == 150_000 and not reply.cut
            scene.replies["GET /stream-fast/{parts}/{size}"].append(reply)


BACKGROUND_MS = 60


def in_background(port, scene):
    with Client(port) as client:
        scene.replies["GET /background/{ms}"].append(
            client.ask("GET", f"/background/{BACKGROUND_MS}")
        )
        wait_until(lambda: ask(port, "GET", "/background-ended").body == b"1", 5, "the task")


WAIT_MS = 160
#: What looks at the tasks tell, which come every 10 to 100 ms: the last may be that early.
LOOKED_MS, LOOK_MS = 400, 100


def waiting(port, scene):
    with Client(port) as client:
        for name, path in (
            ("GET /thread/{ms}", f"/thread/{WAIT_MS}"),
            ("GET /gather/{count}/{ms}", f"/gather/3/{LOOKED_MS}"),
            ("GET /sleep/{ms}", f"/sleep/{LOOKED_MS}"),
            ("GET /burn/{ms}", f"/burn/{WAIT_MS}"),
            ("GET /bursts/{count}/{ms}", f"/bursts/{WAIT_MS // 2}/2"),
            ("GET /block/{ms}", f"/block/{WAIT_MS}"),
        ):
            scene.replies[name].append(client.ask("GET", path))


def given_up(port, scene):
    """Clients that go: with a reset, with a close, in the middle of a response."""
    for how in ("reset", "close"):
        client = Client(port)
        with until_begun(scene.service):
            client.send(request_bytes("GET", "/never"))
        getattr(client, how)()
    client = Client(port)
    client.send(request_bytes("GET", "/stream-never"))
    assert client.until(b"begun\r\n").startswith(b"HTTP/1.1 200 OK")
    client.reset()


SCRIPT = (
    pipelined,
    without_body,
    expecting,
    uploading,
    reading_late,
    streaming,
    unsized,
    in_background,
    waiting,
    given_up,
)


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def scene(request):
    """The whole script under one attach."""
    with request.param.service() as service:
        scene = Scene(service)
        port = service.port
        ask(port, "GET", "/items")
        kept, flying, idle = Client(port), Client(port), Client(port)
        kept.ask("GET", "/text")
        flying.send(request_bytes("GET", "/gate/attach"))
        with attached(service) as scene.run:
            scene.replies["GET /text"] += [kept.ask("GET", "/text") for _ in range(3)]
            for act in SCRIPT:
                act(port, scene)
            ask(port, "GET", "/open/attach")
            assert flying.reply().status == 200
            kept.send(request_bytes("GET", "/gate/end"))
            ask(port, "GET", "/background-ended")
        for client in (kept, flying, idle):
            client.close()
    assert (scene.run.status, scene.run.stderr) == (0, "")
    return scene


#: Of what waits for the scheduler as well, on both sides.
LOOSE_MS = 2.0
#: A close has no time of its own at the client, and the time of requests that came in
#: pieces is that of a piece that has the end of another one too.
LOOSER_MS = {"GET /stream-fast/{parts}/{size}": 10.0, "GET /items/{item_id}/reviews": 10.0}


def test_each_kind_is_counted_and_timed(scene):
    for name, replies in scene.replies.items():
        row = scene.row(name)
        assert row["requests"] == len(replies), name
        assert row["status"] == Counter(str(reply.status) for reply in replies), name
        assert row["aborted"] == row["ongoing"] == 0, name
        late_ms = max(reply.late_ns for reply in replies) / 1e6
        for key, measured in (
            ("latency_ms", [reply.latency_ms for reply in replies]),
            ("first_byte_ms", [reply.first_byte_ms for reply in replies]),
        ):
            told = row[key]
            assert told["count"] == len(replies), (name, key)
            if name == "GET /large/{size}":
                # It reads late; all is written when much of it is on its way still.
                assert told["max"] <= max(measured) + LOOSE_MS, (key, told)
                continue
            for end, value in (("min", min(measured)), ("max", max(measured))):
                off = abs(told[end] - value)
                loose = max(LOOSER_MS.get(name, LOOSE_MS), 0.02 * value)
                assert off <= loose + late_ms, (name, key, told, value, late_ms)
        adds_up(name, row)


def test_first_byte_and_last(scene):
    row = scene.row("GET /stream/{parts}/{ms}")
    # The clock of uvloop's timers has milliseconds, and is of the beginning of a step.
    least = 3 * (PART_MS - 1)
    assert row["latency_ms"]["min"] >= least
    # Between them are the waits, however late the first one was.
    assert row["latency_ms"]["mean"] - row["first_byte_ms"]["mean"] >= least
    # A wait as short as these is between two looks at the task now and then.
    assert row["time_ms"]["timer_wait"] >= 0.5 * 2 * 3 * PART_MS, row["time_ms"]


@pytest.mark.parametrize(
    "name, ms",
    [("POST /upload", UPLOAD_MS), ("PUT /upload", UPLOAD_MS), ("GET /large/{size}", READ_MS)],
)
def test_waits_for_the_client(scene, name, ms):
    row = scene.row(name)
    assert row["latency_ms"]["max"] >= ms
    assert 0.9 * ms <= row["time_ms"]["client_wait"] <= row["latency_ms"]["max"], row["time_ms"]


def test_background_tasks_are_no_latency(scene):
    name = "GET /background/{ms}"
    (reply,) = scene.replies[name]
    assert scene.row(name)["latency_ms"]["max"] <= reply.latency_ms + LOOSE_MS


@pytest.mark.parametrize(
    "name, part",
    [
        ("GET /thread/{ms}", "thread_run"),
        ("GET /gather/{count}/{ms}", "timer_wait"),
        ("GET /sleep/{ms}", "timer_wait"),
        ("GET /burn/{ms}", "loop_cpu"),
        ("GET /bursts/{count}/{ms}", "loop_cpu"),
        ("GET /block/{ms}", "loop_blocked"),
    ],
)
def test_where_the_time_goes(scene, name, part):
    row = scene.row(name)
    time_ms = row["time_ms"]
    least = LOOKED_MS - LOOK_MS if part == "timer_wait" else 0.9 * WAIT_MS
    # Its share of steps that hardly have a sample is that of those which have one.
    other = time_ms["cpu_wait"] if name.startswith("GET /bursts") else 0
    assert time_ms[part] + other >= least, (name, time_ms)
    assert time_ms[part] <= row["latency_ms"]["max"]


def test_clients_that_go(scene):
    never, stream = scene.row("GET /never"), scene.row("GET /stream-never")
    assert (never["requests"], never["aborted"], never["status"]) == (2, 2, {})
    assert (stream["requests"], stream["aborted"], stream["status"]) == (1, 1, {"200": 1})


def test_in_flight_at_the_attach_and_at_the_end(scene):
    """Each is a request once: the one is over, the other goes on."""
    row = scene.row("GET /gate/{name}")
    assert (row["requests"], row["ongoing"], row["status"]) == (1, 1, {"200": 1})


def test_no_other_rows(scene):
    known = {"GET /open/{name}", "GET /background-ended", "GET /gate/{name}"}
    known |= {"GET /never", "GET /stream-never", *scene.replies}
    assert set(rows_of(scene.run)) == known


# ---- many paths -------------------------------------------------------------------------

PATHS = 10_000


def test_many_paths_are_few_rows():
    kinds = (
        ("GET /items/{item_id}", "/items/{:x}"),
        ("GET /wrapped/plain/{name}", "/wrapped/plain/n{}"),
        ("GET /static/{path}", "/static/no/{}.txt"),
        ("GET <unmatched>", "/no/{}/where"),
    )
    requests = [
        ("GET", path.format(number * 7919)) for number in range(PATHS // 4) for _, path in kinds
    ]
    with Server("uvloop", "httptools").service() as service, attached(service) as run:
        exchanges = load(service.port, requests, cpu=1)
    statuses = Counter(exchange.status for exchange in exchanges)
    assert statuses == {200: PATHS // 2, 404: PATHS // 2}
    counted = {name: row["requests"] for name, row in rows_of(run).items()}
    assert counted == {name: PATHS // 4 for name, _ in kinds}


# ---- websockets -------------------------------------------------------------------------

SESSION_MS = 150


@pytest.mark.parametrize(
    "server",
    [
        Server("asyncio", "h11", "uvloop-0.23"),
        Server("uvloop", "httptools", "uvloop-0.23"),
        Server("uvloop", "httptools", "uvloop-0.21"),
    ],
    ids=lambda server: f"{server.loop}-{server.packages}",
)
def test_websockets_are_sessions(server):
    messages = [5, 3]
    with server.service(arguments=("--ws", "wsproto")) as service, attached(service) as run:
        opened = time.monotonic_ns()
        sessions = [WebSocket(service.port, f"/echo/{count}") for count in messages]
        staying = WebSocket(service.port, "/echo/staying")
        refused = WebSocket(service.port, "/closed")
        statuses = [one.answer.status for one in (*sessions, staying, refused)]
        assert statuses == [101, 101, 101, 403]
        both = time.monotonic_ns()
        for session, count in zip(sessions, messages, strict=True):
            for number in range(count):
                session.message(f"message {number}")
                assert session.received() == f"message {number}"
        wait_until(lambda: time.monotonic_ns() - both > SESSION_MS * 1e6, 5, "the time")
        for session in sessions:
            session.goodbye()
        over = time.monotonic_ns()
        staying.message("on")
        assert staying.received() == "on"
    staying.close()
    assert (run.status, run.stderr) == (0, "")
    [row] = run.report["websockets"]
    assert (row["route"], row["sessions"], row["ongoing"]) == ("/echo/{name}", 3, 1)
    # Both say goodbye as well.
    assert row["messages_in"] == sum(messages) + 2 + 1
    assert row["messages_out"] == sum(messages) + 2 + 1
    lasted = row["duration_ms"]
    assert lasted["count"] == 2
    assert SESSION_MS <= lasted["min"] <= lasted["max"] <= (over - opened) / 1e6
    # A handshake that is refused is an answer like any other.
    [(name, row)] = rows_of(run).items()
    assert (name, row["requests"], row["status"]) == ("WS /closed", 1, {"403": 1})


# ---- victims ----------------------------------------------------------------------------

BLOCK_MS = 200
VICTIM_MS = 5.0


def during(service, path, times=3):
    """Each time, while somebody asks for `path`: one on a new connection, one on an old one.

    The replies: of who asked, of the new connections, of the old one.
    """
    culprits, fresh, kept = [], [], []
    port = service.port
    with Client(port) as culprit, Client(port) as old:
        culprit.ask("GET", "/items")
        old.ask("GET", "/items")
        for _ in range(times):
            with until_begun(service):
                sent = culprit.send(request_bytes("GET", path))
            with Client(port) as new:
                first = new.send(request_bytes("GET", "/text"))
                second = old.send(request_bytes("GET", "/empty"))
                fresh.append(new.reply(sent_ns=first))
                kept.append(old.reply(sent_ns=second))
            culprits.append(culprit.reply(sent_ns=sent))
    return culprits, fresh, kept


VICTIM_SERVERS = [SERVERS[0], SERVERS[3], SERVERS[4]]


@pytest.mark.parametrize("server", VICTIM_SERVERS, ids=str)
def test_who_waited_for_whom(server):
    with server.service() as service, attached(service) as run:
        culprits, fresh, kept = during(service, f"/block/{BLOCK_MS}")
    [finding] = run.findings("blocking_call")
    assert finding["route"] == "/block/{ms}"
    victims = {f"{one['method']} {one['route']}": one for one in finding["victims"]}
    assert set(victims) == {"GET /text", "GET /empty"}
    for name, replies in (("GET /text", fresh), ("GET /empty", kept)):
        row, victim = rows_of(run)[name], victims[name]
        # The block is over when its response comes; a client that had no CPU asks later.
        delays = [
            (culprit.first_ns - reply.sent_ns) / 1e6
            for culprit, reply in zip(culprits, replies, strict=True)
            if reply.sent_ns < culprit.first_ns
        ]
        later = [
            reply.latency_ms
            for culprit, reply in zip(culprits, replies, strict=True)
            if reply.sent_ns >= culprit.first_ns
        ]
        assert victim["requests"] == len(delays) > 0
        assert abs(victim["delay_ms"]["max"] - max(delays)) <= VICTIM_MS, (victim, delays)
        assert abs(victim["delay_ms"]["total"] - sum(delays)) <= VICTIM_MS * len(delays)
        for key in ("min", "max"):
            own = {"min": min, "max": max}[key](reply.latency_ms for reply in replies)
            assert abs(row["latency_ms"][key] - own) <= LOOSE_MS, (name, key)
        total = row["latency_ms"]["mean"] * row["latency_ms"]["count"] - sum(later)
        assert row["time_ms"]["behind_others"] >= 0.9 * total, (name, row["time_ms"])
    told = {
        f"{one['victim']['method']} {one['victim']['route']}": one for one in run.report["matrix"]
    }
    assert {one["finding"] for one in told.values()} == {finding["id"]}
    assert {name: (one["requests"], one["delay_ms"]) for name, one in told.items()} == {
        name: (one["requests"], one["delay_ms"]) for name, one in victims.items()
    }
    [slow, *_] = rows_of(run)["GET /text"]["slowest"]
    assert [one["finding"] for one in slow["delayed_by"]] == [finding["id"]]


@pytest.mark.parametrize("server", VICTIM_SERVERS, ids=str)
def test_nobody_waited(server):
    """The silent twin: as long, without holding the loop."""
    with server.service() as service, attached(service) as run:
        during(service, f"/sleep/{BLOCK_MS}")
    assert run.report["matrix"] == []
    assert {finding["kind"] for finding in run.report["findings"]} <= {"cpu_starvation"}
    for name in ("GET /text", "GET /empty"):
        assert rows_of(run)[name]["time_ms"]["behind_others"] < VICTIM_MS


# ---- TLS, workers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_tls(server, certificate):
    if server.packages == "uvloop-0.21":
        certificate += LOGGING
    # A client that makes a connection anew, as after an exception, or decrypts much
    # looks late at its other connections.
    mix = [one for one in MIX if one[1] != 500 and "large" not in one[0]]
    requests = [request for _, _, request in mix] * (REQUESTS // 5 // len(mix))
    off = []
    with server.service(arguments=certificate) as service:
        load(service.port, [request for _, _, request in mix], 4, tls=True)
        for _ in range(LOADS):
            with attached(service) as run:
                exchanges = load(service.port, requests, 4, tls=True, cpu=1)
            assert (run.status, run.stderr) == (0, "")
            off.append(compare(run, exchanges, lambda one: mix[one.index % len(mix)][0]))
            if not off_each_time(off):
                return
    pytest.fail(f"times are off: {off}")


def test_tls_that_nothing_tells_of(certificate):
    """Without its log nobody knows what is answered: no numbers rather than wrong ones."""
    with Server("uvloop", "h11", "uvloop-0.21").service(arguments=certificate) as service:
        with attached(service) as run:
            load(service.port, [("GET", "/items"), ("GET", "/refused")] * 20, 4, tls=True)
    assert (run.status, run.stderr) == (0, "")
    assert run.report["routes"] == []
    assert run.report["self"]["counters"]["requests_untold"] == 4


def test_two_workers_are_one_sum():
    requests = [request for _, _, request in MIX] * (REQUESTS // len(MIX))
    server = Server("uvloop", "httptools")
    off = []
    with server.service(arguments=("--workers", 2)) as service:
        load(service.port, [request for _, _, request in MIX], 4, False)
        for _ in range(LOADS):
            with attached(service) as run:
                exchanges = load(service.port, requests, 8, keep_alive=False, cpu=1)
            assert (run.status, run.stderr) == (0, "")
            assert len([one for one in run.report["targets"] if one["loops"]]) == 2
            off.append(compare(run, exchanges, mixed))
            if not off_each_time(off):
                return
    pytest.fail(f"times are off: {off}")
