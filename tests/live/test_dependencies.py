# SPDX-License-Identifier: Apache-2.0
"""Calls to real peers: PostgreSQL, Redis and an HTTP server, by every client that is supported.

What services/clients*.py did is known: each call ends in a comment with its name, and how often
a route makes it is what the path says. All requests of a loop are driven below a few attaches,
one request at a time; the tests look at what was reported of theirs.
"""

import ast
import asyncio
import json
import re
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import LOOPS, REPORT_SECONDS, SERVICES, Connection, Service, attached, drive, get
from kinds import brief, seen
from servers import Postgres, Redis, Upstream, addresses, clients_python

TIMES = 3
SECRET = "x7Kq-hunter2-secret"
KINDS = ("slow_dependency", "n_plus_one", "slow_di_dependency")
POSTGRES = ("asyncpg", "sqlalchemy", "psycopg", "psycopg2", "psycopg-sync")
REDIS = ("redis", "redis-sync")
HTTP = ("httpx", "aiohttp", "requests")
CLIENTS = POSTGRES + REDIS + HTTP
#: Delays that are asked for, in ms.
SLOW = dict.fromkeys(CLIENTS, 120) | {"asyncpg": 300, "httpx": 300}
NEW_MS = UNIX_MS = 20
MANY = dict.fromkeys(POSTGRES, 20) | dict.fromkeys(REDIS, 30) | dict.fromkeys(HTTP, 8)
#: Calls at once, each on a connection of its own.
WIDE = 20
FEW = dict.fromkeys(POSTGRES + HTTP, 3) | dict.fromkeys(REDIS, 1)
#: Of a latency; from the end of the peer's sleep to its first byte here is its own time.
LATENCY_MS, LATENCY_SHARE = 5, 0.05
#: Of a part of a request's time that is told by looks at its tasks.
PART_MS, PART_SHARE = 20, 0.15
#: What is slow of a peer.
SLOW_S = 0.1


# ---- what the services do --------------------------------------------------------------


@cache
def sites():
    """{name of a call: (file, function, line)} and {function: its first line}."""
    found, first_lines = {}, {}
    for path in SERVICES.glob("clients_*.py"):
        source = path.read_text()
        functions = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for function in functions:
            first = min(line.lineno for line in [function, *function.decorator_list])
            first_lines[str(path), function.name] = first
        for line, text in enumerate(source.splitlines(), 1):
            name = re.search(r"  # ([a-z0-9-]+ [a-z0-9-]+)$", text)
            if name:
                around = [f for f in functions if f.lineno <= line <= f.end_lineno]
                innermost = max(around, key=lambda f: f.lineno)
                found[name[1]] = (str(path), innermost.name, line)
    return found, first_lines


@dataclass(frozen=True)
class Case:
    """One kind of call of one client: `calls` of them in each request."""

    client: str
    what: str
    path: str
    calls: int = 1
    ms: int | None = None
    errors: bool = False
    statements: tuple | None = None
    unix: bool = False

    def __str__(self):
        return f"{self.client}-{self.what}"

    @property
    def name(self):
        return f"{self.client} {self.what}"

    @property
    def route(self):
        counted = dict.fromkeys(("many", "wide", "pipeline"), "count")
        value = {"slow": "ms", "unix": "ms", **counted}.get(self.what)
        value = "secret" if self.what == "secret" else value
        return f"/{self.client}/{self.what}" + (f"/{{{value}}}" if value else "")

    @property
    def protocol(self):
        if self.client in POSTGRES:
            return "postgres"
        return "redis" if self.client in REDIS else "http/1.1"


def shapes(client):
    """What is to be read of the statements, where their text was on the wire meanwhile."""
    if client in POSTGRES:
        # a statement that was prepared before the attach goes by its name
        prepares = client in ("asyncpg", "sqlalchemy")
        return {
            "slow": () if prepares else ("SELECT pg_sleep(?)",),
            "new": ("SELECT pg_sleep(?)",),
            "few": () if prepares else ("SELECT ?", "SELECT ? AS two", "SELECT now()"),
            "error": ("SELECT * FROM missing",),
        }
    if client in REDIS:
        names = {"slow": "DEBUG SLEEP", "many": "GET", "few": "MGET", "error": "LPUSH"}
        names |= {"secret": "SET", "new": "DEBUG SLEEP"}
        return {what: (name,) for what, name in names.items()}
    return {
        "slow": ("GET /delay/{id}",),
        "many": ("GET /items/{id}",),
        "few": ("GET /one", "GET /two", "GET /three"),
        "error": ("GET /status/{id}",),
        "secret": ("POST /{id}",),
        "new": ("GET /delay/{id}",),
    }


def cases_of(client):
    shape = shapes(client).get
    unix = client in ("psycopg", "psycopg2", "redis-sync")
    yield Case(client, "slow", f"/{client}/slow/{SLOW[client]}", ms=SLOW[client],
               statements=shape("slow"))  # fmt: skip
    yield Case(client, "many", f"/{client}/many/{MANY[client]}", MANY[client],
               statements=shape("many"))  # fmt: skip
    yield Case(client, "few", f"/{client}/few", FEW[client], statements=shape("few"))
    yield Case(client, "error", f"/{client}/error", errors=True, statements=shape("error"))
    yield Case(client, "secret", f"/{client}/secret/{SECRET}", statements=shape("secret"))
    yield Case(client, "new", f"/{client}/new", ms=NEW_MS, statements=shape("new"), unix=unix)


CASES = [
    *(case for client in CLIENTS for case in cases_of(client)),
    Case("asyncpg", "unix", f"/asyncpg/unix/{UNIX_MS}", ms=UNIX_MS, unix=True),
    Case("redis", "unix", f"/redis/unix/{UNIX_MS}", ms=UNIX_MS, unix=True),
    Case("redis", "pipeline", "/redis/pipeline/10", statements=("pipeline(GET)",)),
    Case("aiohttp", "wide", f"/aiohttp/wide/{WIDE}", WIDE),
    Case("requests", "wide", f"/requests/wide/{WIDE}", WIDE),
]


#: Routes that read one result page by page, and into how many calls that makes of one line.
PAGES = {"/asyncpg/pages": 9, "/psycopg/pages": 9, "/redis/pages": 9}


# ---- the peers, the service, and what is reported of it -----------------------------------


@pytest.fixture(scope="module")
def peers():
    with Postgres() as postgres, Redis() as redis, Upstream() as upstream:
        yield SimpleNamespace(postgres=postgres, redis=redis, upstream=upstream)


@pytest.fixture(scope="module", params=LOOPS)
def service(request, peers):
    env = addresses(peers.postgres, peers.redis, peers.upstream)
    python = clients_python()
    with Service("clients:app", loop=request.param, interpreter=python, env=env) as service:
        yield service


def answered(answers):
    assert {answer.status for answer in answers} == {200}


def took(paths, answers):
    """{path: seconds of each request}, of answers in the order of the paths."""
    found = defaultdict(list)
    for path, answer in zip(paths, answers, strict=True):
        found[path].append(answer.seconds)
    return found


def beyond_ms(*seconds):
    """By how much requests took longer than the fastest of their list, on average.

    A machine that is busy does so, with each part of a request.
    """
    more = sum(sum(one) - len(one) * min(one) for one in seconds)
    return 1e3 * more / sum(map(len, seconds))


@pytest.fixture(scope="module")
def run(service, tmp_path_factory):
    """All cases, on connections that there were before the attach where the client keeps any."""
    folded = tmp_path_factory.mktemp("output") / "folded"
    paths = [*(case.path for case in CASES), *PAGES]
    answered(drive(service, paths, concurrency=1))
    with attached(service, "-o", f"{folded}:folded") as run:
        answers = drive(service, paths * TIMES, concurrency=1)
        answered(answers)
        get(service, "/settle")
    assert run.status == 0, run.stderr
    run.took = took(paths * TIMES, answers)
    run.folded = folded.read_text()
    return run


def rows(run, route, method="GET"):
    return [
        row
        for row in run.report["dependencies"]
        if (row["route"], row["method"]) == (route, method)
    ]


def own_task(name):
    """The library sends in a task of its own: what is known is the endpoint it works for."""
    # before 3.12 wait_for() makes one; httpx connects in one, aiohttp writes bodies in one
    old = clients_python().version.startswith("3.11.")
    return (name.startswith("redis ") and old) or name in ("aiohttp secret", "trouble refused")


def check_site(name, site):
    found, first_lines = sites()
    file, function, line = found[name]
    assert (site["file"], site["function"]) == (file, function)
    lines = (line, first_lines[file, function]) if own_task(name) else (line,)
    assert site["line"] in lines


def check_latency(row, ms):
    latency = row["latency_ms"]
    assert latency["count"] == row["calls"]
    # The fastest: a peer that waits for a CPU is late, and so is its answer.
    assert ms - 0.5 <= latency["min"] <= ms + max(LATENCY_MS, LATENCY_SHARE * ms)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_calls(run, peers, case):
    (row,) = rows(run, case.route)
    check_site(case.name, row["call_site"])
    server = {"postgres": peers.postgres, "redis": peers.redis}.get(case.protocol, peers.upstream)
    assert row["peer"] == (server.unix if case.unix else server.peer)
    assert row["protocol"] == case.protocol
    assert row["calls"] == TIMES * case.calls
    assert row["calls_per_request"] == case.calls
    assert row["errors"] == (row["calls"] if case.errors else 0)
    assert row["failures"] == row["refused"] == row["unanswered"] == 0
    assert row["unpaired"] is False
    assert row["bytes_sent"] > 0 < row["bytes_received"]
    if case.ms is not None:
        check_latency(row, case.ms)
    else:
        assert row["latency_ms"]["count"] == row["calls"]
    if case.statements is not None:
        assert sorted(row["statements"]) == sorted(case.statements)


@pytest.mark.parametrize("route", PAGES)
def test_pages_are_no_repeated_call(run, route):
    """Each of them needs what the one before answered: there is nothing to put together."""
    calls = [row["calls_per_request"] for row in rows(run, route)]
    assert max(calls) >= PAGES[route], calls
    assert run.findings("n_plus_one", route) == []


def test_nothing_else_was_called(run):
    """What pools and log-ins say to a peer is no call of anybody's."""
    expected = {case.route for case in CASES} | PAGES.keys()
    assert [row for row in run.report["dependencies"] if row["route"] not in expected] == []


def test_no_literal_anywhere(run):
    report = json.dumps(run.report)
    assert SECRET not in report
    for text in (report, run.stdout, run.folded):
        assert "hunter2" not in text


def test_slow_dependencies(run):
    slow = {case.route: case for case in CASES if (case.ms or 0) > 100}
    late = {case.route for case in CASES if max(run.took[case.path]) >= SLOW_S}
    found = run.findings("slow_dependency")
    assert {finding["route"] for finding in found} <= slow.keys() | late
    found = [finding for finding in found if finding["route"] in slow]
    assert sorted(finding["route"] for finding in found) == sorted(slow)
    for finding in found:
        case = slow[finding["route"]]
        check_site(case.name, finding["culprit"])
        assert finding["count"] == finding["requests"] == TIMES
        assert finding["duration_ms"]["min"] >= case.ms - 0.5
        assert finding["evidence"] == "exact"
        assert finding["blocks_loop"] is finding["ongoing"] is False
        assert finding["victims"] == []
        assert finding["peer"] == rows(run, case.route)[0]["peer"]


def test_n_plus_one(run):
    many = {case.route: case for case in CASES if case.what in ("many", "wide")}
    found = run.findings("n_plus_one")
    assert sorted(finding["route"] for finding in found) == sorted(many)
    for finding in found:
        case = many[finding["route"]]
        check_site(case.name, finding["culprit"])
        assert finding["count"] == finding["requests"] == TIMES
        assert finding["calls"] == TIMES * case.calls
        assert finding["calls_per_request"] == case.calls
        dist = finding["calls_per_request_dist"]
        assert (dist["min"], dist["max"]) == (case.calls, case.calls)
        assert finding["peer"] == rows(run, case.route)[0]["peer"]


def test_requests_wait_for_the_peer(run):
    """An asynchronous client waits; one in a worker thread runs there meanwhile."""
    times = {route["route"]: route for route in run.report["routes"]}
    for case in CASES:
        if case.ms is None or case.what == "new":
            continue
        threads = case.client in ("psycopg2", "psycopg-sync", "redis-sync", "requests")
        part = "thread_run" if threads else "dependency_wait"
        more = times[case.route]["time_ms"][part] / TIMES - case.ms
        slack = max(LATENCY_MS, LATENCY_SHARE * case.ms)
        assert -slack <= more <= slack + beyond_ms(run.took[case.path]), case


# ---- statements that are as few as can be ---------------------------------------------------


@pytest.fixture(scope="module")
def orm(service):
    paths = ["/orm/each", "/orm/selectin", "/orm/in"]
    answered(drive(service, paths, concurrency=1))
    with seen(service) as run:
        answered(drive(service, paths * TIMES, concurrency=1))
    return run


def test_one_query_for_each_row(orm):
    (finding,) = orm.findings("n_plus_one")
    file, function, line = sites()[0]["orm each"]
    assert finding["route"] == "/orm/each"
    assert (finding["culprit"]["file"], finding["culprit"]["line"]) == (file, line)
    assert finding["culprit"]["function"] == function
    # with the one that led to them, a line above
    assert finding["calls_per_request"] == 20 + 1
    by_line = {row["call_site"]["line"]: row["calls"] for row in rows(orm, "/orm/each")}
    assert by_line == {line: 20 * TIMES, sites()[0]["orm list"][2]: TIMES}


def test_one_query_for_all_of_them_is_healthy(orm):
    (selectin,) = rows(orm, "/orm/selectin")
    assert (selectin["calls"], selectin["calls_per_request"]) == (2 * TIMES, 2)
    (one,) = rows(orm, "/orm/in")
    assert (one["calls"], one["calls_per_request"]) == (TIMES, 1)
    assert brief([f for f in orm.found if f["route"] != "/orm/each"]) == []


# ---- a fast peer while the loop is busy -----------------------------------------------------


async def at_once(service, paths, times=1):
    """The paths together, each on a connection of its own, that often; all answers by path."""
    connections = [Connection(service.port) for _ in paths]
    rounds = []
    try:
        for _ in range(times):
            asked = zip(connections, paths, strict=True)
            answers = await asyncio.gather(*(one.request("GET", path) for one, path in asked))
            answered(answers)
            rounds.append(answers)
    finally:
        for connection in connections:
            connection.close()
    return list(zip(*rounds, strict=True))


def test_fast_peer_while_the_loop_is_blocked(service):
    asyncio.run(at_once(service, ["/busy/ask", "/busy/block/1"]))
    with attached(service) as run:
        asks, _ = asyncio.run(at_once(service, ["/busy/ask", "/busy/block/100"], times=5))
    assert run.status == 0, run.stderr
    (row,) = rows(run, "/busy/ask")
    assert row["calls"] == 5
    assert row["latency_ms"]["min"] >= 1.5
    # The peer and the loop may be late now and then, and a block after the answer.
    assert row["latency_ms"]["p50"] < 10
    held = [ask for ask in asks if ask.seconds >= 0.09]
    assert len(held) >= 3
    assert [finding for finding in run.report["findings"] if finding["kind"] in KINDS] == []
    (blocked,) = run.findings("blocking_call")
    assert blocked["route"] == "/busy/block/{ms}"
    (route,) = [route for route in run.report["routes"] if route["route"] == "/busy/ask"]
    assert route["time_ms"]["behind_others"] >= 85 * len(held)
    assert route["time_ms"]["dependency_wait"] < 5 * 10 + row["latency_ms"]["max"] - 2
    assert [victim["route"] for victim in blocked["victims"]] == ["/busy/ask"]


# ---- trouble ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=LOOPS)
def trouble(request, peers):
    """A service of its own: two of its requests never end."""
    env = addresses(peers.postgres, peers.redis, peers.upstream)
    with Service(
        "clients:app",
        loop=request.param,
        interpreter=clients_python(),
        env=env,
        arguments=("--timeout-graceful-shutdown", 1),
    ) as service:
        yield in_trouble(service)


def in_trouble(service):
    paths = ["/trouble/refused", "/trouble/refused-thread", "/trouble/reset", "/trouble/tls/60",
             "/trouble/tls-new/60", "/trouble/dns/60"]  # fmt: skip
    closed = get(service, "/trouble/closed-port").json()
    answered(drive(service, paths, concurrency=1))

    async def leave(run):
        """Two requests whose peer is silent still wait when the observation ends."""
        connections = [Connection(service.port) for _ in range(2)]
        began = time.monotonic()
        paths = ["/trouble/never", "/trouble/never-thread"]
        asked = [
            asyncio.create_task(connection.request("GET", path))
            for connection, path in zip(connections, paths, strict=True)
        ]
        await asyncio.sleep(0.3)
        run.process.send_signal(signal.SIGINT)
        await asyncio.to_thread(run.process.wait, REPORT_SECONDS)
        run.left_ms = (time.monotonic() - began) * 1e3
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    with attached(service) as run:
        answered(drive(service, paths * TIMES, concurrency=1))
        asyncio.run(leave(run))
    assert run.status == 0, run.stderr
    run.closed_peer = f"127.0.0.1:{closed}"
    return run


def site_line(row):
    site = row["call_site"]
    return site["file"], site["function"], site["line"]


@pytest.mark.parametrize("what", ["never", "never-thread"])
def test_peer_that_never_answers(trouble, peers, what):
    (row,) = rows(trouble, f"/trouble/{what}")
    assert site_line(row) == sites()[0][f"trouble {what}"]
    assert (row["peer"], row["protocol"]) == (peers.upstream.peer, "http/1.1")
    assert (row["calls"], row["unanswered"], row["failures"]) == (1, 1, 0)
    # They may have been asked late, but so early that they are slow.
    assert SLOW_S * 1e3 <= row["latency_ms"]["max"] <= trouble.left_ms
    (finding,) = trouble.findings("slow_dependency", f"/trouble/{what}")
    assert finding["ongoing"] is True
    assert finding["count"] == 1


def test_refused_connections(trouble):
    (row,) = rows(trouble, "/trouble/refused")
    assert (row["peer"], row["refused"], row["calls"]) == (trouble.closed_peer, TIMES, 0)
    check_site("trouble refused", row["call_site"])
    assert row["latency_ms"]["count"] == 0
    blocking = rows(trouble, "/trouble/refused-thread")
    assert {site_line(row) for row in blocking} == {
        sites()[0]["trouble refused-thread"],
        sites()[0]["trouble refused-timeout"],
    }
    for row in blocking:
        assert (row["peer"], row["refused"], row["calls"]) == (trouble.closed_peer, TIMES, 0)


def test_connection_that_the_peer_resets(trouble, peers):
    (row,) = rows(trouble, "/trouble/reset")
    assert site_line(row) == sites()[0]["trouble reset"]
    assert (row["peer"], row["protocol"]) == (peers.upstream.peer, "http/1.1")
    assert (row["calls"], row["failures"], row["errors"]) == (TIMES, TIMES, 0)
    assert row["latency_ms"]["count"] == 0


def at_its_address(found):
    """Without refused connections to another address of localhost, where there is one."""
    others = [row for row in found if row["peer"].startswith("[::1]:")]
    assert all(row["refused"] and not row["calls"] for row in others)
    return [row for row in found if row not in others]


@pytest.mark.parametrize("what", ["tls", "tls-new"])
def test_calls_inside_of_tls(trouble, peers, what):
    (row,) = at_its_address(rows(trouble, f"/trouble/{what}/{{ms}}"))
    assert site_line(row) == sites()[0][f"trouble {what}"]
    assert row["peer"] == f"127.0.0.1:{peers.upstream.tls_port}"
    assert row["protocol"] == "tls"
    assert row["unpaired"] is True
    assert row["statements"] == []
    assert (row["calls"], row["calls_per_request"]) == (TIMES, 1)
    check_latency(row, 60)
    if what == "tls-new":
        assert row["peer_name"] == "localhost"


def test_name_lookups_disturb_nothing(trouble, peers):
    found = at_its_address(rows(trouble, "/trouble/dns/{ms}"))
    by_protocol = {row["protocol"]: row for row in found}
    assert sorted(by_protocol) == ["dns", "http/1.1", "postgres"]
    peer = {"dns": f"{peers.upstream.names}:53", "http/1.1": peers.upstream.peer}
    site = {"dns": "dns", "http/1.1": "named"}
    for protocol, row in by_protocol.items():
        assert row["calls"] == TIMES
        assert row["errors"] == row["failures"] == row["refused"] == 0
        assert row["peer"] == peer.get(protocol, peers.postgres.peer)
        if protocol in site:
            assert site_line(row) == sites()[0][f"trouble {site[protocol]}"]
        check_latency(row, 60 if protocol == "postgres" else 20)


def test_more_peers_than_rows(service):
    """Beyond the bounds calls are summed up: none is lost."""
    count = 4500
    with attached(service) as run:
        get(service, f"/trouble/peers/0/{count}")
    assert run.status == 0, run.stderr
    found = run.report["dependencies"]
    assert len(found) < count
    assert sum(row["calls"] for row in found) == count
    assert sum(row["failures"] + row["refused"] + row["unanswered"] for row in found) == 0
    (rest,) = [row for row in found if row["peer"] == "_other"]
    assert rest["route"] == "_other"
    assert rest["calls"] == count - len(found) + 1
    named = [row for row in found if row["route"] == "/trouble/peers/{first}/{count}"]
    assert len(named) >= 1000
    assert {site_line(row) for row in named} == {sites()[0]["trouble peers"]}


# ---- where the time goes --------------------------------------------------------------


@pytest.fixture(scope="module")
def waits(service):
    alone = ["/wait/sleep/200", "/wait/blpop/200", "/wait/thread/200", "/wait/def/200",
             "/asyncpg/slow/200", "/wait/gather/200", "/injected/query"]  # fmt: skip
    paired = ["/wait/tokens/200", "/wait/httpx-pool/200", "/wait/asyncpg-pool/200",
              "/wait/sqlalchemy-pool/200", "/injected/pool/200"]  # fmt: skip
    answered(drive(service, [*alone, *paired], concurrency=1))
    get(service, "/threads/1")
    with attached(service) as run:
        answers = drive(service, alone * TIMES, concurrency=1)
        answered(answers)
        both = {path: asyncio.run(at_once(service, [path, path], TIMES)) for path in paired}
    get(service, "/threads/40")
    assert run.status == 0, run.stderr
    run.took = {path: [one] for path, one in took(alone * TIMES, answers).items()}
    for path, answers in both.items():
        # Of two the one waits for the other, whichever it is.
        pairs = (sorted(answer.seconds for answer in pair) for pair in zip(*answers, strict=True))
        run.took[path] = list(zip(*pairs, strict=True))
    return run


def took_at(run, route):
    """Seconds of the requests of a route, in lists of such as are alike."""
    return run.took[route.replace("{ms}", "200")]


def parts(run, route):
    """The parts of one request on average, and its latency."""
    (row,) = [row for row in run.report["routes"] if row["route"] == route]
    mean = {part: total / row["requests"] for part, total in row["time_ms"].items()}
    return mean, row["latency_ms"]["mean"]


def close(found, expected, late_ms):
    slack = max(PART_MS, PART_SHARE * expected)
    return -slack <= found - expected <= slack + late_ms


#: route: parts that it has, of 200 ms each; of two at once one waits for the other.
PARTS = {
    "/asyncpg/slow/{ms}": {"dependency_wait": 200},
    "/wait/gather/{ms}": {"dependency_wait": 200},
    "/injected/query": {"dependency_wait": 200},
    "/wait/sleep/{ms}": {"timer_wait": 200},
    "/wait/thread/{ms}": {"thread_run": 200},
    "/wait/def/{ms}": {"thread_run": 200},
    "/wait/tokens/{ms}": {"thread_run": 200, "thread_queue": 100},
    "/wait/httpx-pool/{ms}": {"dependency_wait": 200, "pool_wait": 100},
    "/wait/asyncpg-pool/{ms}": {"dependency_wait": 200, "pool_wait": 100},
    "/wait/sqlalchemy-pool/{ms}": {"dependency_wait": 200, "pool_wait": 100},
    "/injected/pool/{ms}": {"timer_wait": 200, "pool_wait": 100},
}


@pytest.mark.parametrize("route", PARTS)
def test_where_the_time_goes(waits, route):
    found, latency = parts(waits, route)
    late_ms = beyond_ms(*took_at(waits, route))
    for part, total in found.items():
        assert close(total, PARTS[route].get(part, 0), late_ms), found
    assert sum(found.values()) == pytest.approx(latency, rel=0.05)


#: What is on the line where a route waits for that.
AWAITED = {
    "/asyncpg/slow/{ms}": {"dependency_wait": "# asyncpg slow"},
    "/injected/query": {"dependency_wait": 'get("/delay/200")'},
    "/wait/sleep/{ms}": {"timer_wait": "asyncio.sleep("},
    "/wait/thread/{ms}": {"thread_run": "run_in_threadpool(time.sleep"},
    "/wait/def/{ms}": {"thread_run": '"/wait/def/{ms}"'},
    "/wait/tokens/{ms}": {"thread_run": '"/wait/tokens/{ms}"', "thread_queue": None},
    "/wait/httpx-pool/{ms}": {"dependency_wait": "httpx_one.get(", "pool_wait": "httpx_one.get("},
    "/wait/asyncpg-pool/{ms}": {"dependency_wait": "asyncpg.fetch(", "pool_wait": "asyncpg.fetch("},
    "/wait/sqlalchemy-pool/{ms}": {
        "dependency_wait": "connection.execute(",
        "pool_wait": "engine.connect(",
    },
    "/injected/pool/{ms}": {"timer_wait": "asyncio.sleep(", "pool_wait": "asyncpg.acquire("},
}


def line_at(site):
    if site is None:
        return ""
    return Path(site["file"]).read_text().splitlines()[site["line"] - 1]


@pytest.mark.parametrize("route", AWAITED)
def test_where_it_awaits(waits, route):
    """At one place all of it, but what no snapshot saw on a busy machine."""
    (row,) = [row for row in waits.report["routes"] if row["route"] == route]
    for part, fragment in AWAITED[route].items():
        found = [it for it in row["awaits"] if it["part"] == part]
        assert found
        if fragment:
            here = [it["time_ms"] for it in found if fragment in line_at(it["await_site"])]
            unseen = [it["time_ms"] for it in found if it["await_site"] is None]
            assert sum(here) > 0.5 * row["time_ms"][part], found
            assert sum(here) + sum(unseen) > 0.9 * row["time_ms"][part], found


def test_awaits_add_up(waits):
    for row in waits.report["routes"]:
        for part in ("thread_run", "thread_queue", "pool_wait", "dependency_wait", "timer_wait",
                     "client_wait", "other_wait"):  # fmt: skip
            total = sum(it["time_ms"] for it in row["awaits"] if it["part"] == part)
            assert total == pytest.approx(row["time_ms"][part], abs=0.1), (row["route"], part)


def test_waiting_on_purpose_is_not_slow(waits):
    (row,) = rows(waits, "/wait/blpop/{ms}")
    assert row["latency_ms"]["min"] >= 199
    for route in ("/wait/sleep/{ms}", "/wait/blpop/{ms}", "/wait/thread/{ms}", "/wait/def/{ms}"):
        assert brief([f for f in waits.report["findings"] if f["route"] == route]) == []


def at_most_ms(run, route):
    """By how much one of the requests took longer than the fastest that is alike."""
    return 1e3 * max(max(one) - min(one) for one in took_at(run, route))


def test_depends_that_waits_for_a_connection_is_not_slow(waits):
    assert [f["route"] for f in waits.findings("slow_di_dependency")] == ["/injected/query"]
    (row,) = [row for row in waits.report["injected"] if row["route"] == "/injected/pool/{ms}"]
    assert row["calls_per_request"] == 1
    assert close(row["time_ms"]["max"], 200, at_most_ms(waits, "/injected/pool/{ms}"))


def test_depends_that_waits_for_a_peer(waits):
    (finding,) = waits.findings("slow_di_dependency")
    assert finding["culprit"]["function"] == "slow_query"
    assert finding["detail"] == "clients_waits.slow_query"
    assert close(finding["duration_ms"]["p50"], 200, at_most_ms(waits, "/injected/query"))
