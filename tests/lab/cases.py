# SPDX-License-Identifier: Apache-2.0
"""Declares the public cases. ``python3 -m labkit.build`` turns them into expectations.json."""

from __future__ import annotations

import json
from pathlib import Path

from labkit.model import Suite, lane, load
from labkit.settings import get_settings

SUITE = Suite(Path(__file__).parent)
settings = get_settings()
FAST = f"{settings.host}:{settings.fast_port}"
SLOW = f"{settings.host}:{settings.slow_port}"
POSTGRES = f"{settings.host}:{settings.pg_port}"
REDIS = f"{settings.host}:{settings.redis_port}"
PING = ("/ping",)
ORDER = json.dumps({"items": [{"product_id": n, "quantity": 1} for n in range(1, 21)]})
MEASUREMENTS = {"sensor": "s-1", "value": 1.5, "at": "2026-01-01T00:00:00Z"}

# -- blocking calls -------------------------------------------------------------------

SUITE.server(
    "blocking-calls", "services.blocking_calls:app", needs=("postgres", "peers", "dns")
)
SUITE.bad(
    "blk-time-sleep", "/bad/time-sleep", "blocking_call", rules=["R01"], ms=(100, 130),
    load=load("/bad/time-sleep", concurrency=2, victims=True),
    good=("blk-time-sleep-async-ok", "blk-time-sleep-def-ok"), victims=PING,
    note="the culprit frame is the service function, the route is the async endpoint above it",
)  # fmt: skip
SUITE.good("blk-time-sleep-async-ok", "/good/time-sleep-async", rules=["R01", "R02"],
           load=load("/good/time-sleep-async"))  # fmt: skip
SUITE.good("blk-time-sleep-def-ok", "/good/time-sleep-def", rules=["R03"],
           load=load("/good/time-sleep-def"),
           note="time.sleep in a threadpool thread: not a loop stall")  # fmt: skip
SUITE.bad(
    "blk-requests", "/bad/requests", "blocking_call", rules=["R01", "R06"], ms=(120, 170),
    load=load("/bad/requests", concurrency=2, requests=12, victims=True), peer=FAST,
    good=("blk-requests-def-ok", "blk-requests-executor-ok", "blk-httpx-ok"), victims=PING,
    also_accept=("slow_dependency",),
    note="one finding: the peer is named, but the defect is the blocking client",
)  # fmt: skip
SUITE.good("blk-requests-def-ok", "/good/requests-def", rules=["R03"],
           load=load("/good/requests-def"))  # fmt: skip
SUITE.good("blk-requests-executor-ok", "/good/requests-executor", rules=["R04"],
           load=load("/good/requests-executor"))  # fmt: skip
SUITE.good("blk-httpx-ok", "/good/httpx-async", rules=["R02", "R18"],
           load=load("/good/httpx-async"))  # fmt: skip
SUITE.bad(
    "blk-psycopg2", "/bad/psycopg2", "blocking_call", rules=["R01", "R08"], ms=(120, 170),
    load=load("/bad/psycopg2", concurrency=2, requests=12, victims=True), peer=POSTGRES,
    good=("blk-psycopg2-def-ok", "blk-asyncpg-ok"), victims=PING,
    note="blocks in libpq's poll(), a C library below the Python frame",
)  # fmt: skip
SUITE.good("blk-psycopg2-def-ok", "/good/psycopg2-def", rules=["R03"],
           load=load("/good/psycopg2-def"))  # fmt: skip
SUITE.good("blk-asyncpg-ok", "/good/asyncpg", rules=["R08"], load=load("/good/asyncpg"))
SUITE.bad(
    "blk-sqlite3", "/bad/sqlite3", "blocking_call", rules=["R01", "R08"], ms=(60, 900),
    method="POST",
    load=load("/bad/sqlite3", concurrency=1, requests=15, interval_ms=70, victims=True),
    good=("blk-aiosqlite-ok",), victims=PING, also_accept=("lock_wait",),
    note="waits for another writer inside sqlite's busy handler (repeated short sleeps)",
)  # fmt: skip
SUITE.good("blk-aiosqlite-ok", "/good/aiosqlite", method="POST", rules=["R08"],
           load=load("/good/aiosqlite", concurrency=1, requests=8))  # fmt: skip
SUITE.bad(
    "blk-file-read", "/bad/file-read", "blocking_call", rules=["R01", "R42"], ms=(40, 400),
    load=load("/bad/file-read", concurrency=1, requests=12, victims=True),
    good=("blk-file-read-ok", "blk-small-file-ok"), victims=PING,
    note="open()/read() of a FIFO whose writer is late",
)  # fmt: skip
SUITE.good("blk-file-read-ok", "/good/file-read-threaded", rules=["R02", "R03"],
           load=load("/good/file-read-threaded", concurrency=1, requests=8))  # fmt: skip
SUITE.good("blk-small-file-ok", "/good/small-file", rules=["R01"],
           load=load("/good/small-file"),
           note="impure but costs microseconds: below any sensible threshold")  # fmt: skip
SUITE.bad(
    "blk-fsync", "/bad/fsync", "blocking_call", rules=["R01"], ms=(20, 3000), method="POST",
    load=load("/bad/fsync", concurrency=1, requests=6, victims=True),
    good=("blk-fsync-def-ok",), victims=PING, also_accept=("cpu_stall",),
    note="write() of 48 MiB followed by fsync(); the share of each depends on the disk",
)  # fmt: skip
SUITE.good("blk-fsync-def-ok", "/good/fsync-def", method="POST", rules=["R03"],
           load=load("/good/fsync-def", concurrency=1, requests=6))  # fmt: skip
SUITE.bad(
    "blk-subprocess", "/bad/subprocess", "blocking_call", rules=["R01"], ms=(150, 220),
    method="POST", load=load("/bad/subprocess", concurrency=1, requests=8, victims=True),
    good=("blk-subprocess-ok",), victims=PING,
)  # fmt: skip
SUITE.good("blk-subprocess-ok", "/good/subprocess-async", method="POST", rules=["R02"],
           load=load("/good/subprocess-async", concurrency=1, requests=8))  # fmt: skip
SUITE.bad(
    "blk-getaddrinfo", "/bad/getaddrinfo", "blocking_call", rules=["R01", "R06"], ms=(240, 600),
    load=load("/bad/getaddrinfo", concurrency=1, requests=6, victims=True), peer="127.0.0.2:53",
    good=("blk-getaddrinfo-ok",), victims=PING,
)  # fmt: skip
SUITE.good("blk-getaddrinfo-ok", "/good/getaddrinfo-async", rules=["R02"],
           load=load("/good/getaddrinfo-async", concurrency=1, requests=6),
           note="slow DNS off the loop; a slow_dependency on 127.0.0.2:53 is acceptable",
           )  # fmt: skip

SUITE.bad(
    "blk-many-short", "/bad/many-short", "blocking_call", rules=["R01"], ms=(80, 140),
    load=load("/bad/many-short", concurrency=2, victims=True, loop_ms=70),
    good=("blk-time-sleep-async-ok",), required=False,
    note="twenty sleeps of 4 ms with awaits in between: below a per-call threshold, visible as "
         "80 ms of blocked loop per request",
)  # fmt: skip
SUITE.bad(
    "trap-inflated-peer", "/bad/time-sleep", "blocking_call", rules=["R01", "R20"], ms=(100, 130),
    load={**load("/bad/time-sleep", concurrency=1, requests=20),
          "with": [{"path": "/good/quick-peer", "concurrency": 4, "seconds": 2.0}]},
    good=("trap-quick-peer-ok",), victims=("/good/quick-peer",),
    victims_must_not=("slow_dependency", "blocking_call", "http_pool_exhaustion"),
    note="the answer of the fast peer waits in the socket buffer while the loop is blocked: the "
         "peer is not slow",
)  # fmt: skip
SUITE.good("trap-quick-peer-ok", "/good/quick-peer", rules=["R18", "R20"],
           must_not=("slow_dependency", "blocking_call", "http_pool_exhaustion"),
           load=load("/good/quick-peer", concurrency=4, requests=60))  # fmt: skip
SUITE.good("trap-idle-ok", "/ping", rules=["R19"],
           load=load("/ping", concurrency=1, requests=1, settle_s=3.0),
           note="three seconds without a request: a loop waiting in epoll is not stalled",
           )  # fmt: skip

# -- sync primitives ------------------------------------------------------------------

SUITE.server("sync-primitives", "services.sync_primitives:app")
SUITE.bad(
    "lock-threading", "/bad/lock", "lock_wait", rules=["R01"], ms=(60, 140), method="POST",
    load=load("/bad/lock", concurrency=1, requests=30, interval_ms=20, victims=True),
    good=("lock-def-ok", "lock-uncontended-ok", "lock-async-ok"), victims=PING,
    also_accept=("blocking_call",),
    note="not every request waits; the holder is the thread reindex_inventory",
)  # fmt: skip
SUITE.good("lock-def-ok", "/good/lock-def", method="POST", rules=["R03"],
           load=load("/good/lock-def", concurrency=1, requests=20))  # fmt: skip
SUITE.good("lock-uncontended-ok", "/good/lock-uncontended", method="POST", rules=["R01"],
           load=load("/good/lock-uncontended", requests=200),
           note="a thread lock on the loop is fine while nobody holds it")  # fmt: skip
SUITE.good("lock-async-ok", "/good/lock-async", method="POST", rules=["R02"],
           load=load("/good/lock-async", requests=60))  # fmt: skip
SUITE.bad(
    "blk-queue-get", "/bad/queue-get", "blocking_call", rules=["R01"], ms=(60, 140),
    load=load("/bad/queue-get", concurrency=1, requests=15, victims=True),
    good=("blk-queue-get-ok",), victims=PING, also_accept=("lock_wait",),
)  # fmt: skip
SUITE.good("blk-queue-get-ok", "/good/queue-get-threaded", rules=["R04"],
           load=load("/good/queue-get-threaded", concurrency=1, requests=10))  # fmt: skip
SUITE.bad(
    "blk-future-result", "/bad/future-result", "blocking_call", rules=["R01", "R04"],
    ms=(120, 150), load=load("/bad/future-result", concurrency=2, requests=12, victims=True),
    good=("blk-future-wrapped-ok",), victims=PING, also_accept=("lock_wait",),
    note="the executor is used, but waited for synchronously",
)  # fmt: skip
SUITE.good("blk-future-wrapped-ok", "/good/future-wrapped", rules=["R04"],
           load=load("/good/future-wrapped", concurrency=2, requests=12))  # fmt: skip

# -- CPU ------------------------------------------------------------------------------

SUITE.server("cpu-bound", "services.cpu_bound:app")
SUITE.bad(
    "cpu-bcrypt", "/bad/bcrypt", "cpu_stall", rules=["R05", "R39"], ms=(60, 400), method="POST",
    load=load("/bad/bcrypt", concurrency=2, requests=12, victims=True),
    good=("cpu-bcrypt-threaded-ok", "cpu-bcrypt-def-ok"), victims=PING,
    note="bcrypt releases the GIL, which does not help the loop thread that runs it",
)  # fmt: skip
SUITE.good("cpu-bcrypt-threaded-ok", "/good/bcrypt-threaded", method="POST",
           rules=["R05", "R39"],
           load=load("/good/bcrypt-threaded", concurrency=1, requests=8))  # fmt: skip
SUITE.good("cpu-bcrypt-def-ok", "/good/bcrypt-def", method="POST", rules=["R03", "R05"],
           load=load("/good/bcrypt-def", concurrency=1, requests=8))  # fmt: skip
SUITE.bad(
    "cpu-jwt-burst", "/bad/jwt-burst", "cpu_stall", rules=["R05", "R38"], ms=(60, 600),
    method="POST", load=load("/bad/jwt-burst", concurrency=2, requests=12, victims=True),
    good=("cpu-jwt-single-ok",), victims=PING,
)  # fmt: skip
SUITE.good("cpu-jwt-single-ok", "/good/jwt-single", method="POST", rules=["R38"],
           load=load("/good/jwt-single", concurrency=2, requests=40),
           note="one RS256 signature is a few milliseconds")  # fmt: skip
SUITE.bad(
    "cpu-json-dumps", "/bad/json-dumps", "cpu_stall", rules=["R05", "R34"], ms=(60, 800),
    load=load("/bad/json-dumps", concurrency=2, requests=12, victims=True),
    good=("cpu-json-page-ok",), victims=PING, innermost="json.encoder",
)  # fmt: skip
SUITE.good("cpu-json-page-ok", "/good/json-page", rules=["R16"], load=load("/good/json-page"))
SUITE.bad(
    "cpu-python-loop", "/bad/python-loop", "cpu_stall", rules=["R05"], ms=(80, 900),
    load=load("/bad/python-loop", concurrency=2, requests=10, victims=True),
    good=("cpu-process-ok", "cpu-cooperative-ok"), victims=PING,
)  # fmt: skip
SUITE.bad(
    "cpu-gil-threadpool", "/bad/gil-threadpool", "gil_contention", rules=["R03", "R05"],
    ms=(10, 5000), load=load("/bad/gil-threadpool", concurrency=8, requests=40, victims=True),
    good=("cpu-process-ok",), victims=(),
    must_not=("blocking_call",),
    note="the loop thread waits for the GIL held by AnyIO worker threads running score()",
)  # fmt: skip
SUITE.good("cpu-process-ok", "/good/python-loop-process", rules=["R05"],
           load=load("/good/python-loop-process", concurrency=1, requests=8))  # fmt: skip
SUITE.good("cpu-cooperative-ok", "/good/cooperative", rules=["R05"],
           load=load("/good/cooperative", concurrency=1, requests=10),
           note="the route uses as much CPU as a stall would, in slices")  # fmt: skip

# -- serialization --------------------------------------------------------------------

SUITE.server("serialization", "services.serialization:app")
SUITE.bad(
    "cpu-response-model", "/api/v1/users", "cpu_stall", rules=["R16", "R32", "R47"],
    ms=(60, 1500), load=load("/api/v1/users", concurrency=1, requests=6, victims=True),
    good=("cpu-response-page-ok",), victims=PING,
    on_stack=False, innermost="fastapi.routing.serialize_response",
    note="no application frame is on the stack while it stalls: name the endpoint by its route",
)  # fmt: skip
SUITE.good("cpu-response-page-ok", "/api/v2/users", rules=["R16", "R47"],
           load=load("/api/v2/users?page={n}", requests=60))  # fmt: skip
SUITE.bad(
    "cpu-jsonable-encoder", "/bad/encoder", "cpu_stall", rules=["R32"], ms=(60, 1500),
    load=load("/bad/encoder", concurrency=1, requests=6, victims=True),
    good=("cpu-response-page-ok",), victims=PING,
    on_stack=False, innermost="fastapi.encoders.jsonable_encoder",
)  # fmt: skip
SUITE.bad(
    "cpu-request-body", "/bad/batch", "cpu_stall", rules=["R31"], ms=(40, 1500), method="POST",
    load=load("/bad/batch", concurrency=1, requests=6, victims=True,
              body_repeat={"open": '{"measurements": [', "item": json.dumps(MEASUREMENTS),
                           "count": 60_000, "close": "]}"}),
    good=("cpu-request-body-ok",), victims=PING, on_stack=False, innermost="fastapi.routing",
    note="JSON parsing and model validation happen before the endpoint is entered",
)  # fmt: skip
SUITE.good("cpu-request-body-ok", "/good/batch-small", method="POST", rules=["R31"],
           load=load("/good/batch-small", requests=40,
                     body=json.dumps({"measurements": [MEASUREMENTS] * 50})))  # fmt: skip

SUITE.server("docs-schema", "services.docs_schema:app")
SUITE.good("docs-openapi-ok", "/openapi.json", rules=["R55"],
           load=load("/openapi.json", concurrency=1, requests=20))  # fmt: skip
SUITE.bad(
    "docs-openapi-uncached", "/legacy/openapi.json", "cpu_stall", rules=["R55"], ms=(40, 2000),
    load=load("/legacy/openapi.json", concurrency=1, requests=6, victims=True),
    good=("docs-openapi-ok",), victims=PING, innermost="fastapi.openapi.utils.get_openapi",
    note="the override has no cache check, as in one listing of the documents",
)  # fmt: skip

# -- garbage collection, logging ------------------------------------------------------

SUITE.server("gc-pressure", "services.gc_pressure:app")
SUITE.bad(
    "gc-explicit", "/bad/gc-collect", "gc_pause", rules=["R05"], ms=(60, 4000), method="POST",
    load=load("/bad/gc-collect", concurrency=1, requests=6, victims=True),
    good=("gc-young-ok",), victims=PING, also_accept=("cpu_stall",),
)  # fmt: skip
SUITE.good("gc-young-ok", "/good/gc-young", method="POST", rules=["R05"],
           load=load("/good/gc-young", requests=20, concurrency=1))  # fmt: skip

SUITE.server("log-pipe", "services.log_pipe:app", args=("--no-access-log",), stdout="slow_pipe")
SUITE.good("log-queued-ok", "/good/log-queued", method="POST", rules=["R30"],
           load=load("/good/log-queued", concurrency=1, requests=20, settle_s=3.0),
           note="the listener thread is stuck on the pipe; the loop is not")  # fmt: skip
SUITE.bad(
    "log-pipe-full", "/bad/log-chatty", "log_backpressure", rules=["R30"], ms=(200, 3000),
    method="POST", load=load("/bad/log-chatty", concurrency=1, requests=5, victims=True),
    good=("log-queued-ok",), victims=PING, also_accept=("blocking_call",),
    note="many write() calls to fd 1 of about 50 ms each inside one uninterrupted run",
)  # fmt: skip

# -- threadpool and executor ----------------------------------------------------------

SUITE.server("threadpools", "services.threadpools:app", args=("--loop", "asyncio"))
SUITE.good("pool-anyio-ok", "/good/report", rules=["R03"],
           load=load("/good/report", concurrency=20, requests=80),
           note="20 of 40 tokens in use: busy, not exhausted")  # fmt: skip
SUITE.bad(
    "pool-anyio-saturated", "/bad/report", "threadpool_exhaustion", rules=["R03", "R07"],
    ms=(400, 1400),
    load={**load("/bad/report", concurrency=80, requests=240),
          "with": [lane("/victim/tenant", requests=10, delay_ms=150),
                   lane("/victim/tenant-async", requests=40)]},
    good=("pool-anyio-ok",), victims=("/victim/tenant",),
    pool={"name": "anyio-threads", "size": 40},
    must_not=("blocking_call", "slow_di_dependency"),
    note="/victim/tenant waits for a token in its sync dependency; /victim/tenant-async does not",
)  # fmt: skip
SUITE.good("pool-executor-ok", "/good/executor", rules=["R04"],
           load=load("/good/executor", concurrency=2, requests=20))  # fmt: skip
SUITE.bad(
    "pool-executor-saturated", "/bad/executor", "executor_exhaustion", rules=["R04"],
    ms=(600, 5000),
    load={**load("/bad/executor", concurrency=24, requests=48),
          "with": [lane("/victim/lookup", requests=6, delay_ms=150)]},
    good=("pool-executor-ok",), victims=("/victim/lookup",),
    pool={"name": "executor:asyncio", "size": 5},
    must_not=("blocking_call", "threadpool_exhaustion"),
    note="default size is min(32, cpus + 4), so the size is a lower bound; "
         "name resolution shares the pool on the asyncio loop",
)  # fmt: skip

# -- database pools -------------------------------------------------------------------

SUITE.server("db-pools", "services.db_pools:app", needs=("postgres", "peers"))
SUITE.bad(
    "pool-asyncpg-small", "/bad/asyncpg", "db_pool_exhaustion", rules=["R12"], ms=(300, 1500),
    load=load("/bad/asyncpg", concurrency=12, requests=60), peer=POSTGRES,
    pool={"name": "asyncpg:small", "size": 2}, good=("pool-asyncpg-ok",),
    must_not=("blocking_call",),
    note="each query takes 80 ms; the rest of the latency is waiting for a connection",
)  # fmt: skip
SUITE.good("pool-asyncpg-ok", "/good/asyncpg", rules=["R12"],
           load=load("/good/asyncpg", concurrency=12, requests=60))  # fmt: skip
SUITE.bad(
    "pool-sqlalchemy-small", "/bad/sqlalchemy", "db_pool_exhaustion", rules=["R12", "R13"],
    ms=(200, 1500), load=load("/bad/sqlalchemy", concurrency=12, requests=60), peer=POSTGRES,
    pool={"name": "sqlalchemy:small", "size": 3}, good=("pool-sqlalchemy-ok",),
    must_not=("blocking_call",), note="pool_size 2 plus max_overflow 1",
)  # fmt: skip
SUITE.good("pool-sqlalchemy-ok", "/good/sqlalchemy", rules=["R12"],
           load=load("/good/sqlalchemy", concurrency=12, requests=60))  # fmt: skip
SUITE.bad(
    "pool-held-over-http", "/bad/held-session", "db_pool_exhaustion", rules=["R12", "R14"],
    ms=(300, 2000), load=load("/bad/held-session", concurrency=12, requests=48), peer=POSTGRES,
    pool={"name": "sqlalchemy:small", "size": 3}, good=("pool-released-ok",),
    must_not=("blocking_call",),
    note="connections sit idle in transaction while the owner waits for the HTTP peer " + FAST,
)  # fmt: skip
SUITE.good("pool-released-ok", "/good/released-session", rules=["R14"],
           load=load("/good/released-session", concurrency=4, requests=24, pool_may_wait=True),
           note="momentary waits of a millisecond or so are fine")  # fmt: skip

# -- HTTP clients ---------------------------------------------------------------------

SUITE.server("http-clients", "services.http_clients:app", needs=("postgres", "peers"))
SUITE.bad(
    "pool-httpx-limits", "/bad/httpx-limits", "http_pool_exhaustion", rules=["R12", "R18"],
    ms=(300, 1500), load=load("/bad/httpx-limits", concurrency=12, requests=48), peer=FAST,
    pool={"name": "httpx:narrow", "size": 2}, good=("pool-httpx-ok",),
    must_not=("blocking_call",),
)  # fmt: skip
SUITE.good("pool-httpx-ok", "/good/httpx-limits", rules=["R18"],
           load=load("/good/httpx-limits", concurrency=8, requests=48))  # fmt: skip
SUITE.bad(
    "dep-slow-http", "/bad/charge", "slow_dependency", rules=["R18", "R20"], ms=(300, 380),
    method="POST", load=load("/bad/charge", concurrency=4, requests=16), peer=SLOW,
    good=("dep-fast-http-ok",), must_not=("blocking_call", "http_pool_exhaustion"),
)  # fmt: skip
SUITE.good("dep-fast-http-ok", "/good/charge", method="POST", rules=["R18"],
           must_not=("slow_dependency", "blocking_call", "http_pool_exhaustion"),
           load=load("/good/charge"))  # fmt: skip
SUITE.bad(
    "dep-slow-sql", "/bad/slow-sql", "slow_dependency", rules=["R15", "R20"], ms=(300, 380),
    load=load("/bad/slow-sql", concurrency=4, requests=16), peer=POSTGRES,
    good=("dep-fast-sql-ok",), must_not=("blocking_call", "db_pool_exhaustion"),
)  # fmt: skip
SUITE.good("dep-fast-sql-ok", "/good/fast-sql", rules=["R15"],
           must_not=("slow_dependency", "blocking_call", "db_pool_exhaustion"),
           load=load("/good/fast-sql", requests=60))  # fmt: skip
SUITE.bad(
    "cpu-client-per-request", "/bad/client-per-request", "cpu_stall", rules=["R05", "R18"],
    ms=(4, 400), load=load("/bad/client-per-request", concurrency=1, requests=20, victims=True),
    good=("client-shared-ok",), peer=FAST, innermost="httpx._config.create_ssl_context",
    required=False,
    note="an example in the documents does this; each client loads the CA bundle on the loop",
)  # fmt: skip
SUITE.good("client-shared-ok", "/good/shared-client", rules=["R18"],
           load=load("/good/shared-client"))  # fmt: skip
SUITE.bad(
    "n1-http-serial", "/bad/serial-fan-out", "n_plus_one", rules=["R15", "R18"], ms=(30, 150),
    load=load("/bad/serial-fan-out", concurrency=2, requests=16), peer=FAST,
    calls={"name": "http", "min": 6}, good=("n1-http-batched-ok",),
    must_not=("blocking_call", "slow_dependency"),
)  # fmt: skip
SUITE.good("n1-http-batched-ok", "/good/batched", rules=["R15"], load=load("/good/batched"))
SUITE.good("dep-long-poll-ok", "/good/long-poll", rules=["R02"],
           load=load("/good/long-poll", concurrency=4, requests=12),
           must_not=("slow_dependency", "blocking_call"),
           note="latency from a timer has no peer and no culprit")  # fmt: skip

# -- dependency injection -------------------------------------------------------------

SUITE.server("dependency-injection", "services.dependency_injection:app")
SUITE.bad(
    "di-slow-async", "/bad/slow-async-dependency", "slow_di_dependency", rules=["R07", "R21"],
    ms=(200, 260), load=load("/bad/slow-async-dependency"), good=("di-cached-ok",),
    must_not=("blocking_call",), note="the Depends callable is fetch_permissions",
)  # fmt: skip
SUITE.bad(
    "di-slow-sync", "/bad/slow-sync-dependency", "slow_di_dependency", rules=["R07", "R21"],
    ms=(200, 260), load=load("/bad/slow-sync-dependency"), good=("di-cached-ok",),
    must_not=("blocking_call", "threadpool_exhaustion"),
    note="runs in the threadpool: slow for this route, harmless for the loop",
)  # fmt: skip
SUITE.bad(
    "di-blocking", "/bad/blocking-dependency", "blocking_call", rules=["R01", "R07"],
    ms=(100, 130), load=load("/bad/blocking-dependency", concurrency=2, victims=True),
    good=("di-cached-ok",), victims=PING, also_accept=("slow_di_dependency",),
)  # fmt: skip
SUITE.bad(
    "di-blocking-teardown", "/bad/blocking-teardown", "blocking_call", rules=["R01", "R13"],
    ms=(100, 130), load=load("/bad/blocking-teardown", concurrency=2, victims=True),
    good=("di-teardown-ok",), victims=PING,
    note="code after yield: may run after the response has been sent",
)  # fmt: skip
SUITE.good("di-teardown-ok", "/good/teardown", rules=["R13"], load=load("/good/teardown"))
SUITE.bad(
    "di-uncached-chain", "/bad/uncached-chain", "n_plus_one", rules=["R22"], ms=(120, 160),
    load=load("/bad/uncached-chain"), calls={"name": "get_current_user", "min": 4},
    good=("di-cached-ok",), also_accept=("slow_di_dependency",), must_not=("blocking_call",),
    note="use_cache=False: the same dependency runs four times in one request",
)  # fmt: skip
SUITE.good("di-cached-ok", "/good/cached-chain", rules=["R22"],
           must_not=("slow_di_dependency", "n_plus_one", "blocking_call"),
           load=load("/good/cached-chain"), calls={"max": 1})  # fmt: skip

# -- N+1 ------------------------------------------------------------------------------

SUITE.server("n-plus-one", "services.n_plus_one:app", needs=("postgres", "redis"))
SUITE.bad(
    "n1-sqlalchemy-get", "/bad/stock", "n_plus_one", rules=["R15"], ms=(5, 400), method="POST",
    load=load("/bad/stock", concurrency=2, requests=16, body=ORDER), peer=POSTGRES,
    calls={"name": "sql", "min": 20}, good=("n1-sqlalchemy-in-ok",), must_not=("blocking_call",),
    note="the shape of an example the documents call good: one db.get per order line",
)  # fmt: skip
SUITE.good("n1-sqlalchemy-in-ok", "/good/stock", method="POST", rules=["R15"],
           load=load("/good/stock", concurrency=2, requests=16, body=ORDER))  # fmt: skip
SUITE.bad(
    "n1-sqlalchemy-children", "/bad/users/{user_id}/orders", "n_plus_one", rules=["R15"],
    ms=(5, 400), load=load("/bad/users/{n}/orders", concurrency=2, requests=16), peer=POSTGRES,
    calls={"name": "sql", "min": 11}, good=("n1-selectin-ok",), must_not=("blocking_call",),
)  # fmt: skip
SUITE.good("n1-selectin-ok", "/good/users/{user_id}/orders", rules=["R15"],
           load=load("/good/users/{n}/orders", concurrency=2, requests=16))  # fmt: skip
SUITE.bad(
    "n1-redis-get", "/bad/flags", "n_plus_one", rules=["R15", "R50"], ms=(3, 200),
    load=load("/bad/flags", concurrency=2, requests=20), peer=REDIS,
    calls={"name": "redis", "min": 30}, good=("n1-redis-mget-ok",), must_not=("blocking_call",),
)  # fmt: skip
SUITE.good("n1-redis-mget-ok", "/good/flags", rules=["R50"],
           load=load("/good/flags", concurrency=2, requests=40))  # fmt: skip

# -- middleware -----------------------------------------------------------------------

SUITE.server("middleware", "services.middleware:app")
SUITE.bad(
    "mw-blocking-base", "/bad/session", "blocking_call", rules=["R01", "R25"], ms=(80, 110),
    load=load("/bad/session", concurrency=2, victims=True),
    good=("mw-plain-ok",), victims=PING,
    note="the culprit runs before routing: the route must be learnt later or from the path",
)  # fmt: skip
SUITE.bad(
    "mw-rate-limiter", "/bad/limited", "cpu_stall", rules=["R05", "R26"], ms=(25, 500),
    load=load("/bad/limited", concurrency=1, requests=12, victims=True),
    good=("mw-limiter-ok",), victims=PING,
)  # fmt: skip
SUITE.good("mw-limiter-ok", "/good/limited", rules=["R26"],
           load=load("/good/limited", requests=200))  # fmt: skip
SUITE.good("mw-plain-ok", "/good/plain", rules=["R25", "R28"],
           load=load("/good/plain", requests=200))  # fmt: skip

# -- background work ------------------------------------------------------------------

SUITE.server("background", "services.background:app")
SUITE.bad(
    "bg-blocking-task", "/bad/notify", "blocking_call", rules=["R01", "R09"], ms=(150, 190),
    method="POST", load=load("/bad/notify", concurrency=1, requests=10, victims=True),
    good=("bg-def-ok", "bg-async-ok"), victims=PING,
    note="time to first byte is short: the stall comes after the response",
)  # fmt: skip
SUITE.good("bg-def-ok", "/good/notify-def", method="POST", rules=["R09"],
           load=load("/good/notify-def", concurrency=2, requests=20))  # fmt: skip
SUITE.good("bg-async-ok", "/good/notify-async", method="POST", rules=["R09"],
           load=load("/good/notify-async", concurrency=2, requests=20))  # fmt: skip
SUITE.bad(
    "bg-fire-and-forget", "/bad/fire-and-forget", "blocking_call", rules=["R01", "R09", "R49"],
    ms=(120, 150), method="POST",
    load=load("/bad/fire-and-forget", concurrency=1, requests=10, victims=True),
    good=("bg-async-ok",), victims=PING, owner={"task": "rebuild_feed", "thread": None},
    spawned_by="/bad/fire-and-forget",
    note="runs in its own task; attributing it to the spawning route is a bonus, "
         "naming rebuild_feed is required",
)  # fmt: skip

# -- websockets and streaming ---------------------------------------------------------

SUITE.server("realtime", "services.realtime:app")
SUITE.bad(
    "ws-blocking-handler", "/bad/ws/{client_id}", "blocking_call", rules=["R01", "R44"],
    ms=(100, 130), method="WS",
    load={**load("/bad/ws/7", concurrency=2, messages=6, victims=True)},
    good=("ws-async-ok",), victims=PING,
)  # fmt: skip
SUITE.good("ws-async-ok", "/good/ws/{client_id}", method="WS", rules=["R44"],
           must_not=("blocking_call", "slow_dependency"),
           load=load("/good/ws/7", concurrency=4, messages=6, interval_ms=100))  # fmt: skip
SUITE.bad(
    "stream-blocking-generator", "/bad/export", "blocking_call", rules=["R01", "R45"],
    ms=(240, 320), load=load("/bad/export", concurrency=2, requests=10, victims=True),
    good=("stream-def-ok", "stream-async-ok"), victims=PING,
    note="four sleeps of 60 ms after the headers; sending a small chunk does not suspend the "
         "task, so the loop sees one run of 240 ms",
)  # fmt: skip
SUITE.good("stream-def-ok", "/good/export-def", rules=["R03", "R45"],
           load=load("/good/export-def", concurrency=4, requests=12))  # fmt: skip
SUITE.good("stream-async-ok", "/good/export-async", rules=["R45"],
           load=load("/good/export-async", concurrency=4, requests=12))  # fmt: skip

# -- routing --------------------------------------------------------------------------

SUITE.server("routing", "services.routing:app")
SUITE.bad(
    "route-cardinality", "/api/v1/items/{item_id}", "blocking_call", rules=["R47", "R48"],
    ms=(60, 90), load=load("/api/v1/items/{n}", concurrency=2, requests=30, victims=True),
    good=("route-version-ok", "route-sibling-ok"), victims=PING,
    note="30 different paths, one route, one finding",
)  # fmt: skip
SUITE.good("route-version-ok", "/api/v2/items/{item_id}", rules=["R47"],
           load=load("/api/v2/items/{n}", requests=100))  # fmt: skip
SUITE.good("route-sibling-ok", "/api/v1/items/{item_id}/stock", rules=["R47", "R48"],
           load=load("/api/v1/items/{n}/stock", requests=100))  # fmt: skip
SUITE.bad(
    "route-mounted", "/admin/items/{item_id}", "blocking_call", rules=["R47"], ms=(60, 90),
    load=load("/admin/items/{n}", concurrency=2, requests=20, victims=True),
    good=("route-mounted-ok",), victims=PING,
    note="the same culprit line as route-cardinality, reached through a mounted application",
)  # fmt: skip
SUITE.good("route-mounted-ok", "/admin/health", rules=["R47"],
           load=load("/admin/health", requests=100))  # fmt: skip
SUITE.bad(
    "route-catch-all", "/files/legacy/{file_path}", "blocking_call",
    rules=["R42", "R48"], ms=(60, 90),
    load=load("/files/legacy/a/b/{n}.html", concurrency=2, requests=20, victims=True),
    good=("file-response-ok", "static-files-ok"), victims=PING,
)  # fmt: skip
SUITE.good("file-response-ok", "/files/{file_path}", rules=["R42"],
           load=load("/files/bundle.js", concurrency=2, requests=10))  # fmt: skip
SUITE.good("static-files-ok", "/static/{path}", rules=["R42"],
           load=load("/static/logo.svg", concurrency=2, requests=60))  # fmt: skip
SUITE.good("route-not-found-ok", "<unmatched>", rules=["R48"],
           load=load("/nowhere/{n}", requests=60, expect=["404"]),
           note="unmatched paths must collapse into one row")  # fmt: skip

SUITE.good("trap-slow-reader-ok", "/static/{path}", rules=["R42"],
           must_not=("blocking_call", "slow_dependency", "threadpool_exhaustion"),
           load=load("/static/bundle.js", concurrency=2, requests=4, read_pause_ms=60),
           note="the client reads slowly: sending is suspended, nothing is stalled")  # fmt: skip
SUITE.good("trap-slow-upload-ok", "/files/upload", method="POST", rules=["R43"],
           must_not=("blocking_call", "slow_dependency", "slow_di_dependency"),
           load=load("/files/upload", concurrency=2, requests=4, upload_ms=500,
                     body_repeat={"open": "", "item": "x" * 63, "count": 1024, "close": ""}),
           note="the client sends slowly: the route waits for its body")  # fmt: skip

SUITE.server("routing-starved", "services.routing:app", cpu_hogs=3)
SUITE.good("trap-starved-ok", "/api/v2/items/{item_id}", rules=["R19"],
           load=load("/api/v2/items/{n}", concurrency=4, seconds=4.0, starved_ms=100),
           note="other processes take the CPU away: runnable without a CPU is neither a "
                "blocking call nor a CPU stall of the route")  # fmt: skip

# -- a service that follows the documents ---------------------------------------------

SUITE.server("shop", "services.shop.main:app", needs=("postgres", "peers"))
LOGIN = json.dumps({"username": "user1", "password": "correct horse"})
CART = json.dumps({"items": [{"product_id": n, "quantity": 1} for n in range(1, 6)]})
TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0."
    "in4RX-15yBhqjL4LhRbwZPhSY4I59gnzCPdr61d_8ec"
)
AUTH = {"authorization": f"Bearer {TOKEN}"}
SUITE.bad(
    "shop-login-blocking", "/api/v1/auth/token-blocking", "cpu_stall", rules=["R05", "R39"],
    ms=(30, 250), method="POST",
    load=load("/api/v1/auth/token-blocking", concurrency=2, requests=16, body=LOGIN, victims=True),
    good=("shop-login-ok",), victims=PING,
    note="culprit in auth/service.py, two calls below the endpoint",
)  # fmt: skip
SUITE.good("shop-login-ok", "/api/v1/auth/token", method="POST", rules=["R04", "R38", "R39"],
           load=load("/api/v1/auth/token", concurrency=1, requests=12, body=LOGIN))  # fmt: skip
SUITE.bad(
    "shop-smtp", "/api/v1/orders/{order_id}/confirm-blocking", "blocking_call",
    rules=["R01", "R06"], ms=(150, 220), method="POST",
    load=load("/api/v1/orders/100/confirm-blocking", concurrency=2, requests=12, headers=AUTH,
              victims=True),
    peer=f"{settings.host}:{settings.smtp_port}", good=("shop-smtp-ok",), victims=PING,
    note="smtplib below a service function, behind an authenticated dependency chain",
)  # fmt: skip
SUITE.good("shop-smtp-ok", "/api/v1/orders/{order_id}/confirm", method="POST",
           rules=["R04"], must_not=("blocking_call", "threadpool_exhaustion"),
           load=load("/api/v1/orders/100/confirm", concurrency=2, requests=8, headers=AUTH),
           note="a slow_dependency on the SMTP peer is acceptable, a stall is not")  # fmt: skip
SUITE.good("shop-me-ok", "/api/v1/auth/me", rules=["R21", "R22", "R27", "R38", "R40"],
           load=load("/api/v1/auth/me", requests=200,
                     headers={**AUTH, "origin": "https://app.example.com"}))  # fmt: skip
SUITE.good("shop-list-ok", "/api/v1/orders", rules=["R13", "R16", "R21"],
           load=load("/api/v1/orders?limit=10", requests=120, headers=AUTH))  # fmt: skip
SUITE.good("shop-read-ok", "/api/v1/orders/{order_id}", rules=["R22", "R48"],
           load=load("/api/v1/orders/100", requests=120, headers=AUTH))  # fmt: skip
SUITE.good("shop-create-ok", "/api/v1/orders", method="POST", rules=["R09", "R14", "R31"],
           load=load("/api/v1/orders", concurrency=2, requests=16, body=CART, headers=AUTH),
           calls={"max": 5}, note="the confirmation is a sync background task")  # fmt: skip
SUITE.good("shop-ready-ok", "/health/ready", rules=["R19"],
           load=load("/health/ready", requests=100))  # fmt: skip
SUITE.good("shop-denied-ok", "/api/v1/auth/me", rules=["R29", "R38"],
           load=load("/api/v1/auth/me", requests=60, expect=["401"],
                     headers={"authorization": "Bearer nonsense"}))  # fmt: skip

# -- deployment -----------------------------------------------------------------------

SUITE.server("deploy-workers", "services.deploy:app", args=("--workers", "2"))
SUITE.bad(
    "deploy-workers", "/bad/stall", "blocking_call", rules=["R01", "R52"], ms=(100, 130),
    load=load("/bad/stall", concurrency=1, requests=10, victims=True),
    good=("deploy-workers-ok",), victims=(),
    note="only the worker that served the request stalls; findings are per process",
)  # fmt: skip
SUITE.good("deploy-workers-ok", "/good/whoami", rules=["R51", "R52"],
           load=load("/good/whoami", requests=100),
           must_not=("config", "blocking_call"),
           note="--workers without --reload is the recommended way")  # fmt: skip

SUITE.server("deploy-reload-workers", "services.deploy:app",
             args=("--reload", "--workers", "2"))  # fmt: skip
SUITE.bad(
    "deploy-reload-workers", "/good/whoami", "config", rules=["R51"], ms=(0, 0),
    load=load("/good/whoami", requests=20, command_contains=["--reload", "--workers"]),
    good=("deploy-workers-ok",), on_loop=False, must_not=("blocking_call",),
    note="uvicorn keeps one worker and ignores --workers; visible in the command line of the "
         "supervisor, not of the serving child",
)  # fmt: skip
