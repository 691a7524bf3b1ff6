# SPDX-License-Identifier: Apache-2.0
"""Pools of two: each route takes from one of them, waits, and gives back.

A line that waits for a pool ends in a comment with its name; so does the line that a thread is
at.  What the libraries say of themselves is sampled all the time: /numbers.
"""

import asyncio
import contextlib
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import aiomysql
import aiopg
import anyio
import asyncpg
import httpx
import redis.asyncio
import sampled
from addresses import DSN, MARIADB, MONGO, PG, PG_PORT, REDIS, UPSTREAM
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pymongo import AsyncMongoClient
from pymongo.server_api import ServerApi
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

SIZE = 2
URL = f"postgresql+asyncpg://postgres@127.0.0.1:{PG_PORT}/postgres"


class Pools:
    """Set by lifespan()."""


def note_all():
    for name, limiter in (("anyio", Pools.limiter), ("default", Pools.default)):
        said = limiter.statistics()
        sampled.note(name, said.total_tokens, said.borrowed_tokens, said.tasks_waiting)
    for name, executor in (("executor", Pools.executor), ("to_thread", Pools.to_thread)):
        queued = executor._work_queue.qsize()
        sampled.note(name, executor._max_workers, len(executor._threads) if queued else 0, queued)
    own = Pools.asyncpg
    sampled.note("asyncpg", own.get_max_size(), own.get_size() - own.get_idle_size(),
         len(own._queue._getters))  # fmt: skip
    said = Pools.psycopg.get_stats()
    sampled.note("psycopg", said["pool_max"], said["pool_size"] - said["pool_available"],
         said["requests_waiting"])  # fmt: skip
    own = Pools.engine.pool
    sampled.note("sqlalchemy", own.size() + own._max_overflow, own.checkedout(),
         len(own._pool._queue._getters))  # fmt: skip
    own = Pools.redis
    sampled.note("redis", own.max_connections, len(own._in_use_connections),
         len(own._condition._waiters))  # fmt: skip
    own = Pools.plain_redis
    sampled.note("plain_redis", own.max_connections, len(own._in_use_connections), 0)
    own = Pools.aiomysql
    sampled.note("aiomysql", own.maxsize, own.size - own.freesize - own._acquiring,
         len(own._cond._waiters))  # fmt: skip
    own = Pools.aiopg
    sampled.note("aiopg", own.maxsize, own.size - own.freesize - own._acquiring,
         len(own._cond._waiters))  # fmt: skip
    for server in Pools.pymongo._topology._servers.values():
        own = server.pool
        sampled.note("pymongo", own.max_pool_size, own.requests, len(own.size_cond._waiters))
    own = Pools.httpx._transport._pool
    sampled.note("httpx", own._max_connections, len(own.connections),
         sum(request.connection is None for request in own._requests))  # fmt: skip
    own = Pools.aiohttp.connector
    sampled.note("aiohttp", own.limit, len(own._acquired), sum(map(len, own._waiters.values())))
    for name, own in (("semaphore", Pools.semaphore), ("bounded", Pools.bounded)):
        sampled.note(name, SIZE, SIZE - own._value, len(own._waiters or ()))
    own = Pools.anyio
    sampled.note("anyio_semaphore", own.max_value, own.max_value - own.value,
         own.statistics().tasks_waiting)  # fmt: skip
    own = Pools.tokens
    sampled.note("tokens", own.maxsize, own.maxsize - own.qsize(), len(own._getters))
    own = Pools.jobs
    sampled.note("jobs", own.maxsize, own.qsize(), len(own._putters))


@contextlib.asynccontextmanager
async def lifespan(_app):
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        Pools.default = anyio.to_thread.current_default_thread_limiter()
        Pools.default.total_tokens = SIZE
        Pools.limiter = anyio.CapacityLimiter(SIZE)
        Pools.to_thread = ThreadPoolExecutor(SIZE, "asyncio")
        asyncio.get_running_loop().set_default_executor(Pools.to_thread)
        Pools.executor = stack.enter_context(ThreadPoolExecutor(SIZE, "reports"))
        Pools.asyncpg = await enter(asyncpg.create_pool(**PG, min_size=SIZE, max_size=SIZE))
        Pools.psycopg = AsyncConnectionPool(
            DSN, min_size=SIZE, max_size=SIZE, open=False, name="accounts"
        )
        await enter(Pools.psycopg)
        await Pools.psycopg.wait()
        Pools.engine = create_async_engine(URL, pool_size=1, max_overflow=1)
        stack.push_async_callback(Pools.engine.dispose)
        Pools.session = async_sessionmaker(Pools.engine)
        Pools.redis = redis.asyncio.BlockingConnectionPool(
            max_connections=SIZE, timeout=20, **REDIS
        )
        Pools.plain_redis = redis.asyncio.ConnectionPool(max_connections=SIZE, **REDIS)
        Pools.aiomysql = await enter(aiomysql.create_pool(SIZE, SIZE, **MARIADB))
        Pools.aiopg = await enter(aiopg.create_pool(DSN, minsize=SIZE, maxsize=SIZE))
        Pools.pymongo = await enter(
            AsyncMongoClient(**MONGO, maxPoolSize=SIZE, server_api=ServerApi("1"))
        )
        await Pools.pymongo.admin.command("ping")
        Pools.semaphore = asyncio.Semaphore(SIZE)
        Pools.bounded = asyncio.BoundedSemaphore(SIZE)
        Pools.anyio = anyio.Semaphore(SIZE, max_value=SIZE)
        Pools.tokens = asyncio.Queue(SIZE)
        for token in range(SIZE):
            Pools.tokens.put_nowait(token)
        Pools.jobs = asyncio.Queue(SIZE)
        limits = httpx.Limits(max_connections=SIZE)
        Pools.httpx = await enter(httpx.AsyncClient(base_url=UPSTREAM, limits=limits, timeout=30))
        connector = aiohttp.TCPConnector(limit=SIZE)
        Pools.aiohttp = await enter(aiohttp.ClientSession(UPSTREAM, connector=connector))
        await enter(sampled.sampling(note_all))
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(sampled.router)


@app.get("/ping")
async def ping():
    return "pong"


# ---- threads ----------------------------------------------------------------------


def work(ms):
    time.sleep(ms / 1e3)  # anyio
    return threading.get_native_id()


def other_work(ms):
    time.sleep(ms / 1e3)  # executor


def default_work(ms):
    time.sleep(ms / 1e3)  # to_thread


@app.get("/default/{ms}")
def default_threads(ms: int):
    time.sleep(ms / 1e3)  # default


@app.get("/anyio/{ms}")
async def own_limiter(ms: int):
    await anyio.to_thread.run_sync(work, ms, limiter=Pools.limiter)


@app.get("/executor/{ms}")
async def own_executor(ms: int):
    await asyncio.get_running_loop().run_in_executor(Pools.executor, other_work, ms)


@app.get("/to_thread/{ms}")
async def default_executor(ms: int):
    await asyncio.to_thread(functools.partial(default_work, ms))


# ---- connections ------------------------------------------------------------------


@app.get("/at-once/{ms}")
async def at_once(ms: int):
    query = "SELECT pg_sleep($1)"
    await asyncio.gather(*(Pools.asyncpg.fetch(query, ms / 1e3) for _ in range(6)))  # at-once


@app.get("/asyncpg/{ms}")
async def from_asyncpg(ms: int):
    async with Pools.asyncpg.acquire() as connection:  # asyncpg
        await connection.execute(f"SELECT pg_sleep({ms / 1e3})")


@app.get("/psycopg/{ms}")
async def from_psycopg(ms: int):
    async with Pools.psycopg.connection() as connection:  # psycopg
        await connection.execute(f"SELECT pg_sleep({ms / 1e3})")


@app.get("/sqlalchemy/{ms}")
async def from_sqlalchemy(ms: int):
    async with Pools.session() as session:
        await session.execute(text(f"SELECT pg_sleep({ms / 1e3})"))  # sqlalchemy


@app.get("/redis/{ms}")
async def from_redis(ms: int):
    async with redis.asyncio.Redis(connection_pool=Pools.redis) as client:
        await client.blpop("nothing", timeout=ms / 1e3)  # redis


@app.get("/pymongo/{ms}")
async def from_pymongo(ms: int):
    await Pools.pymongo.admin.command("ping", comment=ms)  # pymongo


@app.get("/httpx/{ms}")
async def from_httpx(ms: int):
    await Pools.httpx.get(f"/delay/{ms}")  # httpx


@app.get("/aiohttp/{ms}")
async def from_aiohttp(ms: int):
    async with Pools.aiohttp.get(f"/delay/{ms}") as response:  # aiohttp
        await response.read()


@app.get("/aiomysql/{ms}")
async def from_aiomysql(ms: int):
    async with Pools.aiomysql.acquire() as connection, connection.cursor() as cursor:  # aiomysql
        await cursor.execute(f"SELECT SLEEP({ms / 1e3})")


@app.get("/aiopg/{ms}")
async def from_aiopg(ms: int):
    async with Pools.aiopg.acquire() as connection, connection.cursor() as cursor:  # aiopg
        await cursor.execute(f"SELECT pg_sleep({ms / 1e3})")


@app.get("/plain_redis/{ms}")
async def from_plain_redis(ms: int):
    async with redis.asyncio.Redis(connection_pool=Pools.plain_redis) as client:
        with contextlib.suppress(redis.exceptions.ConnectionError):
            await client.blpop("nothing", timeout=ms / 1e3)


# ---- limiters ---------------------------------------------------------------------


@app.get("/semaphore/{ms}")
async def within_semaphore(ms: int):
    async with Pools.semaphore:
        await asyncio.sleep(ms / 1e3)


@app.get("/anyio_semaphore/{ms}")
async def within_anyio_semaphore(ms: int):
    async with Pools.anyio:
        await asyncio.sleep(ms / 1e3)


@app.get("/bounded/{ms}")
async def within_bounded(ms: int):
    async with Pools.bounded:
        await asyncio.sleep(ms / 1e3)


@app.get("/tokens/{ms}")
async def with_token(ms: int):
    token = await Pools.tokens.get()
    await asyncio.sleep(ms / 1e3)
    Pools.tokens.put_nowait(token)


@app.get("/jobs/{ms}")
async def one_of_the_jobs(ms: int):
    await Pools.jobs.put(ms)
    await asyncio.sleep(ms / 1e3)
    Pools.jobs.get_nowait()
