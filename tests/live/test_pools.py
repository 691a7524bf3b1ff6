# SPDX-License-Identifier: Apache-2.0
"""Pools of real libraries, emptied: their numbers are the libraries' own, and who is named.

Each pool of services/pools.py has two of what it gives; a route takes one for as long as its
path says.
"""

import asyncio
import re

import pytest
from harness import LOOPS, SERVICES, Service, attached, drive, drive_async, get
from servers import MariaDB, Mongo, Postgres, Redis, Upstream, addresses, clients_python

SIZE, HELD_MS, REQUESTS, CALLERS = 2, 120, 24, 8
#: Route, kind of pool, kind of finding; waits are for a thread or for a connection.
POOLS = {
    "default": ("anyio", "threadpool_exhaustion"),
    "anyio": ("anyio", "threadpool_exhaustion"),
    "executor": ("executor", "executor_exhaustion"),
    "to_thread": ("executor", "executor_exhaustion"),
    "asyncpg": ("asyncpg", "db_pool_exhaustion"),
    "psycopg": ("psycopg", "db_pool_exhaustion"),
    "sqlalchemy": ("sqlalchemy", "db_pool_exhaustion"),
    "aiomysql": ("aiomysql", "db_pool_exhaustion"),
    "aiopg": ("aiopg", "db_pool_exhaustion"),
    "pymongo": ("pymongo", "db_pool_exhaustion"),
    "redis": ("redis", "db_pool_exhaustion"),
    "httpx": ("httpx", "http_pool_exhaustion"),
    "aiohttp": ("aiohttp", "http_pool_exhaustion"),
}
#: Those that no finding is about: kind, name, whether they know how many there are.
LIMITERS = {
    "semaphore": ("semaphore", "Semaphore", False),
    "bounded": ("semaphore", "BoundedSemaphore", True),
    "anyio_semaphore": ("anyio.Semaphore", "Semaphore", True),
    "tokens": ("queue.get", "Queue", True),
    "jobs": ("queue.put", "Queue", True),
}
NAMES = {
    "default": "default threads",
    "anyio": "CapacityLimiter",
    "executor": "reports",
    "to_thread": "default executor",
    "psycopg": "accounts",
}
KINDS = {kind for _, kind in POOLS.values()}
#: So many wait all the time; more do only until what was given back is taken again.
WAITING = CALLERS - SIZE


def line_of(name):
    source = (SERVICES / "pools.py").read_text().splitlines()
    return next(n for n, text in enumerate(source, 1) if re.search(rf"  # {name}$", text))


@pytest.fixture(scope="module")
def environment():
    with (
        Postgres() as postgres,
        MariaDB() as mariadb,
        Mongo() as mongo,
        Redis() as redis,
        Upstream() as upstream,
    ):
        yield addresses(postgres, redis, upstream, mongo, mariadb)


@pytest.fixture(scope="module", params=LOOPS)
def service(environment, request):
    with Service(
        "pools:app", loop=request.param, interpreter=clients_python(), env=environment
    ) as service:
        get(service, "/ping")
        yield service


def route_of(name):
    return f"/{name}/{{ms}}"


def warmed(service, names):
    drive(service, [f"/{name}/10" for name in names] * 2, concurrency=2)
    get(service, "/reset")


def emptied(service, name):
    """What was found while more wanted what there are two of, and what it says."""
    warmed(service, [name])
    with attached(service) as run:
        drive(service, [f"/{name}/{HELD_MS}"] * REQUESTS, concurrency=CALLERS)
        said = get(service, "/numbers").json()[name]
    return run, said


@pytest.mark.parametrize("name", POOLS)
def test_an_empty_pool(service, name):
    kind, finding_kind = POOLS[name]
    run, said = emptied(service, name)
    assert said["size"] == said["in_use"] == SIZE
    (pool,) = [pool for pool in run.report["pools"] if pool["kind"] == kind]
    assert (pool["size"], pool["in_use_max"]) == (SIZE, SIZE)
    # Its samples may miss those that come before a thread takes the first ones.
    most = max(said["waiting"], CALLERS if kind == "executor" else 0)
    assert WAITING <= pool["waiters_max"] <= most
    assert pool["name"] == NAMES.get(name, pool["name"])
    assert pool["name"]
    findings = [finding for finding in run.report["findings"] if finding["kind"] in KINDS]
    (finding,) = findings
    assert finding["kind"] == finding_kind
    assert (finding["route"], finding["method"]) == (route_of(name), "GET")
    assert finding["culprit"]["line"] == line_of(name)
    assert finding["count"] >= REQUESTS / 3
    assert not finding["blocks_loop"]
    assert finding["pool"]["size"] == finding["pool"]["in_use"] == SIZE
    holders = {holder["route"] for holder in finding["pool"]["holders"]}
    assert holders <= {route_of(name)}
    # The peers are slow, too, which is all there is once the last ones have what they need.
    verdict = max(run.report["verdicts"], key=lambda verdict: verdict["slow_requests"])
    assert (verdict["verdict"], verdict["finding"]) == ("pool_exhausted", finding["id"])
    (route,) = [row for row in run.report["routes"] if row["route"] == route_of(name)]
    parts = route["time_ms"]
    # Three out of four wait for others: for one of them, or for two or three.
    assert HELD_MS / 2 <= pool["wait_ms"]["p50"] <= route["latency_ms"]["p99"] - HELD_MS / 2
    assert parts["pool_wait"] + parts["thread_queue"] > sum(parts.values()) / 4


def test_a_request_empties_a_pool_alone(service):
    """Its tasks are the library's coroutines: the line that awaits them is named."""
    warmed(service, ["at-once"])
    with attached(service) as run:
        drive(service, [f"/at-once/{HELD_MS}"] * 3, concurrency=1)
    (finding,) = run.findings("db_pool_exhaustion")
    assert finding["route"] == route_of("at-once")
    assert finding["culprit"]["function"] == "at_once"
    assert finding["culprit"]["line"] == line_of("at-once")
    assert finding["requests"] == 3


def at_once(service, names, count):
    """The run and what the pools say while each of them is wanted by so many, once."""
    warmed(service, names)

    async def want(name):
        await drive_async(service, [f"/{name}/{3 * HELD_MS}"] * count, concurrency=count)

    async def want_all():
        await asyncio.gather(*map(want, names))

    with attached(service) as run:
        asyncio.run(want_all())
        said = get(service, "/numbers").json()
    return run, said


def found_at(run, name):
    return [f["kind"] for f in run.report["findings"] if f["route"] == route_of(name)]


@pytest.fixture(scope="module")
def plenty(service):
    return at_once(service, [*POOLS, *LIMITERS], SIZE)


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_that_suffices(plenty, name):
    run, said = plenty
    assert said[name]["in_use"] <= said[name]["size"] == SIZE
    assert not KINDS & set(found_at(run, name))
    assert "pool_exhausted" not in {v["verdict"] for v in run.report["verdicts"]}


@pytest.mark.parametrize("name", LIMITERS)
def test_limiters_that_suffice(plenty, name):
    run, said = plenty
    assert said[name]["lasting"] == 0
    assert LIMITERS[name][0] not in {pool["kind"] for pool in run.report["pools"]}
    assert found_at(run, name) == []


@pytest.fixture(scope="module")
def moment(service):
    return at_once(service, POOLS, CALLERS)


@pytest.fixture(scope="module")
def moment_of_limiters(service):
    return at_once(service, LIMITERS, CALLERS)


def pool_of(run, kind, name):
    (pool,) = [
        pool
        for pool in run.report["pools"]
        if pool["kind"] == kind and pool["name"] == (name or pool["name"])
    ]
    return pool


@pytest.mark.parametrize("name", POOLS)
def test_numbers_of_one_moment(moment, name):
    """So many at once, then nobody: the most that waited is what the library said."""
    run, all_said = moment
    said = all_said[name]
    assert (said["size"], said["in_use"], said["lasting"]) == (SIZE, SIZE, WAITING)
    pool = pool_of(run, POOLS[name][0], NAMES.get(name))
    assert (pool["size"], pool["in_use_max"]) == (SIZE, SIZE)
    # Those that come last may be seen before a thread takes the first ones.
    most = CALLERS if POOLS[name][0] == "executor" else WAITING
    assert WAITING <= pool["waiters_max"] <= most
    assert POOLS[name][1] in found_at(run, name)


@pytest.mark.parametrize("name", LIMITERS)
def test_limiters(moment_of_limiters, name):
    kind, type_name, known = LIMITERS[name]
    run, all_said = moment_of_limiters
    said = all_said[name]
    assert (said["size"], said["in_use"], said["lasting"]) == (SIZE, SIZE, WAITING)
    pool = pool_of(run, kind, type_name)
    size = SIZE if known else None
    assert (pool["size"], pool["in_use_max"], pool["waiters_max"]) == (size, size, WAITING)
    assert pool["wait_ms"]["count"] == WAITING
    assert found_at(run, name) == []


@pytest.mark.parametrize("callers", [1, CALLERS])
def test_a_pool_that_nobody_waits_for(service, callers):
    """It raises when it is empty: its numbers are said, and nothing else."""
    run, all_said = at_once(service, ["plain_redis"], callers)
    said = all_said["plain_redis"]
    (pool,) = run.report["pools"]
    assert (pool["kind"], pool["name"]) == ("redis", "ConnectionPool")
    assert pool["size"] == said["size"] == SIZE
    assert pool["in_use_max"] == said["in_use"] == min(callers, SIZE)
    assert pool["waiters_max"] == 0
    assert pool["wait_ms"]["count"] == 0
    assert not KINDS & {finding["kind"] for finding in run.report["findings"]}
