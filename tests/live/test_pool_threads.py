# SPDX-License-Identifier: Apache-2.0
"""Pools of real libraries that threads wait for: which line waits, and not the threads' fault.

Each pool of services/pools_sync.py has two connections; a route takes one for as long as its
path says.
"""

import re

import pytest
from harness import LOOPS, SERVICES, Service, attached, drive, get
from servers import Mongo, Postgres, Redis, Upstream, addresses, clients_python

SIZE, HELD_MS, CALLERS = 2, 300, 7
#: Route -> kind of finding.
POOLS = {
    "sqlalchemy": "db_pool_exhaustion",
    "psycopg": "db_pool_exhaustion",
    "pymongo": "db_pool_exhaustion",
    "motor": "db_pool_exhaustion",
    "redis": "db_pool_exhaustion",
    "httpx": "http_pool_exhaustion",
    "urllib3": "http_pool_exhaustion",
}
#: Kind of pool, where it is not called as the route is: motor's are pymongo's.
KIND_OF = {"motor": "pymongo"}
NAMES = {"sqlalchemy": "QueuePool", "psycopg": "ledger", "redis": "BlockingConnectionPool",
         "pymongo": "Pool", "motor": "Pool", "httpx": "ConnectionPool",
         "urllib3": "HTTPConnectionPool"}  # fmt: skip
KINDS = {*POOLS.values(), "threadpool_exhaustion", "executor_exhaustion"}


def line_of(name):
    source = (SERVICES / "pools_sync.py").read_text().splitlines()
    return next(n for n, text in enumerate(source, 1) if re.search(rf"  # {name}$", text))


@pytest.fixture(scope="module")
def environment():
    with (
        Postgres() as postgres,
        Redis() as redis,
        Upstream() as upstream,
        Mongo() as mongo,
    ):
        yield addresses(postgres, redis, upstream, mongo)


@pytest.fixture(scope="module", params=LOOPS)
def service(environment, request):
    with Service(
        "pools_sync:app", loop=request.param, interpreter=clients_python(), env=environment
    ) as service:
        yield service


def observed(service, paths, threads=40):
    """Report, its findings about pools, and what the libraries said meanwhile."""
    get(service, f"/threads/{threads}")
    drive(service, sorted(set(paths)) * SIZE, concurrency=SIZE)
    get(service, "/reset")
    with attached(service) as run:
        drive(service, paths, concurrency=len(paths))
        said = get(service, "/numbers").json()
    return run, [f for f in run.report["findings"] if f["kind"] in KINDS], said


@pytest.mark.parametrize("name", POOLS)
def test_an_empty_pool(service, name):
    run, (finding,), said = observed(service, [f"/{name}/{HELD_MS}"] * CALLERS)
    own = said[name]
    assert (own["size"], own["in_use"], own["waiting"]) == (SIZE, SIZE, CALLERS - SIZE)
    (pool,) = [pool for pool in run.report["pools"] if pool["kind"] == KIND_OF.get(name, name)]
    assert (pool["size"], pool["in_use_max"], pool["waiters_max"]) == (SIZE, SIZE, own["waiting"])
    assert pool["name"] == NAMES[name]
    assert pool["wait_ms"]["count"] == CALLERS - SIZE
    assert finding["kind"] == POOLS[name]
    assert (finding["route"], finding["method"]) == (f"/{name}/{{ms}}", "GET")
    assert finding["culprit"]["line"] == line_of(name)
    assert finding["count"] == CALLERS - SIZE
    assert not finding["blocks_loop"]
    assert {holder["route"] for holder in finding["pool"]["holders"]} == {f"/{name}/{{ms}}"}
    (route,) = [row for row in run.report["routes"] if row["route"] == f"/{name}/{{ms}}"]
    parts = route["time_ms"]
    # The last one waits for the three pairs before it, and then has its connection.
    longest = route["latency_ms"]["max"] - HELD_MS
    assert 2.5 * HELD_MS <= pool["wait_ms"]["max"] <= longest + HELD_MS / 3
    # Of seven requests two wait for nobody, two for one, two for two and one for three.
    assert parts["pool_wait"] > sum(parts.values()) / 3
    assert parts["thread_run"] > sum(parts.values()) / 4


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_that_suffices(service, name):
    run, findings, said = observed(service, [f"/{name}/{HELD_MS}"] * SIZE)
    assert said[name]["lasting"] == 0
    assert findings == []
    assert [pool for pool in run.report["pools"] if pool["kind"] == KIND_OF.get(name, name)] == []


@pytest.mark.parametrize("callers", [1, CALLERS])
def test_a_pool_that_nobody_waits_for(service, callers):
    """It raises when it is empty: its numbers are said, and nothing else."""
    run, findings, said = observed(service, [f"/plain_redis/{HELD_MS}"] * callers)
    own = said["plain_redis"]
    (pool,) = run.report["pools"]
    assert (pool["kind"], pool["name"]) == ("redis", "ConnectionPool")
    assert (pool["size"], pool["in_use_max"]) == (own["size"], own["in_use"])
    assert (own["size"], own["in_use"]) == (SIZE, min(callers, SIZE))
    assert (pool["waiters_max"], pool["wait_ms"]["count"]) == (0, 0)
    assert findings == []


def test_threads_that_only_wait_for_connections(service):
    """Four threads, two of them with a connection: more of them would wait, too."""
    paths = [f"/sqlalchemy/{HELD_MS}"] * CALLERS
    run, findings, said = observed(service, paths, threads=4)
    assert said["threads"]["in_use"] == 4
    assert said["threads"]["waiting"] == CALLERS - 4
    assert [finding["kind"] for finding in findings] == ["db_pool_exhaustion"]
    (threads,) = [pool for pool in run.report["pools"] if pool["kind"] == "anyio"]
    assert (threads["size"], threads["in_use_max"]) == (4, 4)
    assert threads["waiters_max"] == CALLERS - 4


def test_threads_and_connections(service):
    """Threads are taken by something else, and the connections are, too: both are said."""
    paths = [f"/sqlalchemy/{HELD_MS}"] * 3 + [f"/sleep/{2 * HELD_MS}"] * 12
    _, findings, _ = observed(service, paths, threads=9)
    assert {(finding["kind"], finding["route"]) for finding in findings} == {
        ("db_pool_exhaustion", "/sqlalchemy/{ms}"),
        ("threadpool_exhaustion", "/sleep/{ms}"),
    }
