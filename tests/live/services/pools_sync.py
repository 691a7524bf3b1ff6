# SPDX-License-Identifier: Apache-2.0
"""Pools of two that threads wait for: endpoints and functions that block in them.

As in pools.py a line that waits for a pool ends in a comment with its name.
"""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import redis
import requests
import requests.adapters
import sampled
from addresses import DSN, MONGO, PG_PORT, REDIS, UPSTREAM
from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from psycopg_pool import ConnectionPool
from pymongo import MongoClient
from pymongo.server_api import ServerApi
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

SIZE = 2
URL = f"postgresql+psycopg://postgres@127.0.0.1:{PG_PORT}/postgres"


class Pools:
    """Set by lifespan()."""


def note_all():
    limiter = anyio.to_thread.current_default_thread_limiter()
    sampled.note("threads", limiter.total_tokens, limiter.borrowed_tokens,
         limiter.statistics().tasks_waiting)  # fmt: skip
    own = Pools.engine.pool
    sampled.note("sqlalchemy", own.size() + own._max_overflow, own.checkedout(),
         len(own._pool.not_empty._waiters))  # fmt: skip
    said = Pools.psycopg.get_stats()
    sampled.note("psycopg", said["pool_max"], said["pool_size"] - said["pool_available"],
         said["requests_waiting"])  # fmt: skip
    own = Pools.redis
    sampled.note("redis", own.max_connections, own.max_connections - own.pool.qsize(),
         len(own.pool.not_empty._waiters))  # fmt: skip
    own = Pools.plain_redis
    sampled.note("plain_redis", own.max_connections, len(own._in_use_connections), 0)
    for name, client in (("pymongo", Pools.pymongo), ("motor", Pools.motor.delegate)):
        for server in client._topology._servers.values():
            own = server.pool
            sampled.note(name, own.max_pool_size, own.requests, len(own.size_cond._waiters))
    own = Pools.httpx._transport._pool
    sampled.note("httpx", own._max_connections, len(own.connections),
         sum(request.connection is None for request in list(own._requests)))  # fmt: skip
    for own in Pools.requests.get_adapter(UPSTREAM).poolmanager.pools._container.values():
        sampled.note("urllib3", own.pool.maxsize, own.pool.maxsize - own.pool.qsize(),
             len(own.pool.not_empty._waiters))  # fmt: skip


@contextlib.asynccontextmanager
async def lifespan(_app):
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(20))
        Pools.engine = create_engine(URL, pool_size=1, max_overflow=1)
        stack.callback(Pools.engine.dispose)
        Pools.session = sessionmaker(Pools.engine)
        Pools.psycopg = enter(ConnectionPool(DSN, min_size=SIZE, max_size=SIZE, name="ledger"))
        Pools.psycopg.wait()
        Pools.redis = redis.BlockingConnectionPool(max_connections=SIZE, timeout=20, **REDIS)
        Pools.plain_redis = redis.ConnectionPool(max_connections=SIZE, **REDIS)
        limits = httpx.Limits(max_connections=SIZE)
        Pools.httpx = enter(httpx.Client(base_url=UPSTREAM, limits=limits, timeout=30))
        Pools.requests = enter(requests.Session())
        Pools.requests.mount(
            UPSTREAM, requests.adapters.HTTPAdapter(pool_maxsize=SIZE, pool_block=True)
        )
        Pools.pymongo = enter(MongoClient(**MONGO, maxPoolSize=SIZE, server_api=ServerApi("1")))
        Pools.pymongo.admin.command("ping")
        Pools.motor = AsyncIOMotorClient(**MONGO, maxPoolSize=SIZE, server_api=ServerApi("1"))
        stack.callback(Pools.motor.close)
        await Pools.motor.admin.command("ping")
        async with sampled.sampling(note_all):
            yield


app = FastAPI(lifespan=lifespan)
app.include_router(sampled.router)


@app.get("/threads/{count}")
async def threads(count: int):
    anyio.to_thread.current_default_thread_limiter().total_tokens = count


@app.get("/sleep/{ms}")
def sleep(ms: int):
    time.sleep(ms / 1e3)  # sleep


@app.get("/sqlalchemy/{ms}")
def from_sqlalchemy(ms: int):
    with Pools.session() as session:
        session.execute(text(f"SELECT pg_sleep({ms / 1e3})"))  # sqlalchemy


def query(ms):
    with Pools.psycopg.connection() as connection:  # psycopg
        connection.execute(f"SELECT pg_sleep({ms / 1e3})")


@app.get("/psycopg/{ms}")
async def from_psycopg(ms: int):
    await asyncio.to_thread(query, ms)


@app.get("/redis/{ms}")
def from_redis(ms: int):
    redis.Redis(connection_pool=Pools.redis).blpop("nothing", timeout=ms / 1e3)  # redis


@app.get("/plain_redis/{ms}")
def from_plain_redis(ms: int):
    with contextlib.suppress(redis.exceptions.ConnectionError):
        redis.Redis(connection_pool=Pools.plain_redis).blpop("nothing", timeout=ms / 1e3)


@app.get("/pymongo/{ms}")
def from_pymongo(ms: int):
    Pools.pymongo.admin.command("ping", comment=ms)  # pymongo


@app.get("/motor/{ms}")
async def from_motor(ms: int):
    await Pools.motor.admin.command("ping", comment=ms)  # motor


@app.get("/httpx/{ms}")
def from_httpx(ms: int):
    Pools.httpx.get(f"/delay/{ms}")  # httpx


@app.get("/urllib3/{ms}")
def from_urllib3(ms: int):
    Pools.requests.get(f"{UPSTREAM}/delay/{ms}")  # urllib3
