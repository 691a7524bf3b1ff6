# SPDX-License-Identifier: Apache-2.0
"""Clients that wait on the event loop; see clients.py."""

import asyncio

import aiohttp
import asyncpg
import httpx
import psycopg
import redis.asyncio
from addresses import DSN, DSN_UNIX, PG, PG_PORT, PG_UNIX, REDIS, REDIS_SOCKET, UPSTREAM
from fastapi import APIRouter
from psycopg_pool import AsyncConnectionPool
from redis.exceptions import ResponseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

URL = f"postgresql+asyncpg://postgres@127.0.0.1:{PG_PORT}/postgres"
FEW = ("SELECT 1", "SELECT 2 AS two", "SELECT now()")

router = APIRouter()


class Clients:
    """Set by open_clients()."""


async def open_clients(stack):
    enter = stack.enter_async_context
    Clients.asyncpg = await enter(asyncpg.create_pool(**PG, min_size=2, max_size=8))
    Clients.asyncpg_unix = await enter(asyncpg.create_pool(**PG_UNIX, min_size=1, max_size=2))
    Clients.engine = create_async_engine(URL, pool_size=4)
    stack.push_async_callback(Clients.engine.dispose)
    Clients.psycopg = AsyncConnectionPool(DSN, min_size=2, max_size=4, open=False)
    await enter(Clients.psycopg)
    await Clients.psycopg.wait()
    Clients.redis = await enter(redis.asyncio.Redis(**REDIS))
    Clients.redis_unix = await enter(redis.asyncio.Redis(unix_socket_path=REDIS_SOCKET))
    Clients.httpx = await enter(httpx.AsyncClient(base_url=UPSTREAM, timeout=30))
    Clients.aiohttp = await enter(aiohttp.ClientSession(UPSTREAM))


# ---- asyncpg ---------------------------------------------------------------------


@router.get("/asyncpg/slow/{ms}")
async def asyncpg_slow(ms: int):
    await Clients.asyncpg.fetch("SELECT pg_sleep($1)", ms / 1e3)  # asyncpg slow


@router.get("/asyncpg/many/{count}")
async def asyncpg_many(count: int):
    for number in range(count):
        await Clients.asyncpg.fetchval("SELECT $1::int + 1", number)  # asyncpg many


@router.get("/asyncpg/few")
async def asyncpg_few():
    async with Clients.asyncpg.acquire() as connection:
        for statement in FEW:
            await connection.fetch(statement)  # asyncpg few


@router.get("/asyncpg/error")
async def asyncpg_error():
    try:
        await Clients.asyncpg.fetch("SELECT * FROM missing")  # asyncpg error
    except asyncpg.UndefinedTableError:
        return {}


@router.get("/asyncpg/secret/{secret}")
async def asyncpg_secret(secret: str):
    query = f"SELECT '{secret}' = $1, $2::bytea"
    await Clients.asyncpg.fetch(query, secret, secret.encode())  # asyncpg secret


@router.get("/asyncpg/new")
async def asyncpg_new():
    connection = await asyncpg.connect(**PG)
    await connection.fetch("SELECT pg_sleep(0.02)")  # asyncpg new
    await connection.close()


@router.get("/asyncpg/pages")
async def asyncpg_pages():
    async with Clients.asyncpg.acquire() as connection, connection.transaction():
        numbers = "SELECT generate_series(1, 80)"
        async for _ in connection.cursor(numbers, prefetch=10):  # asyncpg pages
            pass


@router.get("/asyncpg/unix/{ms}")
async def asyncpg_unix(ms: int):
    await Clients.asyncpg_unix.fetch("SELECT pg_sleep($1)", ms / 1e3)  # asyncpg unix


# ---- SQLAlchemy on asyncpg -----------------------------------------------------


@router.get("/sqlalchemy/slow/{ms}")
async def sqlalchemy_slow(ms: int):
    async with AsyncSession(Clients.engine) as session:
        await session.execute(text("SELECT pg_sleep(:s)"), {"s": ms / 1e3})  # sqlalchemy slow


@router.get("/sqlalchemy/many/{count}")
async def sqlalchemy_many(count: int):
    async with AsyncSession(Clients.engine) as session:
        for n in range(count):
            await session.execute(text("SELECT :n + 1"), {"n": n})  # sqlalchemy many


@router.get("/sqlalchemy/few")
async def sqlalchemy_few():
    async with AsyncSession(Clients.engine) as session:
        for statement in FEW:
            await session.execute(text(statement))  # sqlalchemy few


@router.get("/sqlalchemy/error")
async def sqlalchemy_error():
    async with AsyncSession(Clients.engine) as session:
        try:
            await session.execute(text("SELECT * FROM missing"))  # sqlalchemy error
        except DBAPIError:
            return {}


@router.get("/sqlalchemy/secret/{secret}")
async def sqlalchemy_secret(secret: str):
    async with AsyncSession(Clients.engine) as session:
        query = text(f"SELECT '{secret}', CAST(:bound AS text)")
        await session.execute(query, {"bound": secret})  # sqlalchemy secret


@router.get("/sqlalchemy/new")
async def sqlalchemy_new():
    engine = create_async_engine(URL)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(0.02)"))  # sqlalchemy new
    await engine.dispose()


# ---- psycopg -------------------------------------------------------------------


@router.get("/psycopg/slow/{ms}")
async def psycopg_slow(ms: int):
    async with Clients.psycopg.connection() as connection:
        await connection.execute("SELECT pg_sleep(%s)", [ms / 1e3])  # psycopg slow


@router.get("/psycopg/many/{count}")
async def psycopg_many(count: int):
    async with Clients.psycopg.connection() as connection:
        for n in range(count):
            await connection.execute("SELECT %s + 1", [n])  # psycopg many


@router.get("/psycopg/few")
async def psycopg_few():
    async with Clients.psycopg.connection() as connection:
        for statement in FEW:
            await connection.execute(statement)  # psycopg few


@router.get("/psycopg/error")
async def psycopg_error():
    try:
        async with Clients.psycopg.connection() as connection:
            await connection.execute("SELECT * FROM missing")  # psycopg error
    except psycopg.errors.UndefinedTable:
        return {}


@router.get("/psycopg/secret/{secret}")
async def psycopg_secret(secret: str):
    async with Clients.psycopg.connection() as connection:
        await connection.execute(f"SELECT '{secret}', %s::text", [secret])  # psycopg secret


@router.get("/psycopg/pages")
async def psycopg_pages():
    async with (
        Clients.psycopg.connection() as connection,
        connection.cursor(name="numbers") as cursor,
    ):
        await cursor.execute("SELECT generate_series(1, 80)")
        while await cursor.fetchmany(10):  # psycopg pages
            pass


@router.get("/psycopg/new")
async def psycopg_new():
    async with await psycopg.AsyncConnection.connect(DSN_UNIX) as connection:
        await connection.execute("SELECT pg_sleep(0.02)")  # psycopg new


# ---- redis.asyncio -------------------------------------------------------------


@router.get("/redis/slow/{ms}")
async def redis_slow(ms: int):
    await Clients.redis.execute_command("DEBUG", "SLEEP", ms / 1e3)  # redis slow


@router.get("/redis/many/{count}")
async def redis_many(count: int):
    for number in range(count):
        await Clients.redis.get(f"key:{number}")  # redis many


@router.get("/redis/few")
async def redis_few():
    await Clients.redis.mget([f"key:{number}" for number in range(30)])  # redis few


@router.get("/redis/error")
async def redis_error():
    try:
        await Clients.redis.execute_command("LPUSH", "only-one")  # redis error
    except ResponseError:
        return {}


@router.get("/redis/secret/{secret}")
async def redis_secret(secret: str):
    await Clients.redis.set(secret, secret * 20, ex=10)  # redis secret


@router.get("/redis/new")
async def redis_new():
    async with redis.asyncio.Redis(**REDIS) as client:
        await client.execute_command("DEBUG", "SLEEP", 0.02)  # redis new


@router.get("/redis/pages")
async def redis_pages():
    for _ in range(9):
        await Clients.redis.scan()  # redis pages


@router.get("/redis/unix/{ms}")
async def redis_unix(ms: int):
    await Clients.redis_unix.execute_command("DEBUG", "SLEEP", ms / 1e3)  # redis unix


@router.get("/redis/pipeline/{count}")
async def redis_pipeline(count: int):
    async with Clients.redis.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.get(f"key:{number}")
        await pipeline.execute()  # redis pipeline


# ---- httpx ---------------------------------------------------------------------


@router.get("/httpx/slow/{ms}")
async def httpx_slow(ms: int):
    await Clients.httpx.get(f"/delay/{ms}")  # httpx slow


@router.get("/httpx/many/{count}")
async def httpx_many(count: int):
    for number in range(count):
        await Clients.httpx.get(f"/items/{number}")  # httpx many


@router.get("/httpx/few")
async def httpx_few():
    for path in ("/one", "/two", "/three"):
        await Clients.httpx.get(path)  # httpx few


@router.get("/httpx/error")
async def httpx_error():
    await Clients.httpx.get("/status/500")  # httpx error


@router.get("/httpx/secret/{secret}")
async def httpx_secret(secret: str):
    headers = {"authorization": f"Bearer {secret}"}
    where = f"/{secret}?token={secret}"
    await Clients.httpx.post(where, headers=headers, json=secret)  # httpx secret


@router.get("/httpx/new")
async def httpx_new():
    async with httpx.AsyncClient() as client:
        await client.get(f"{UPSTREAM}/delay/20")  # httpx new


# ---- aiohttp -------------------------------------------------------------------


@router.get("/aiohttp/slow/{ms}")
async def aiohttp_slow(ms: int):
    async with Clients.aiohttp.get(f"/delay/{ms}") as response:  # aiohttp slow
        await response.read()


@router.get("/aiohttp/wide/{count}")
async def aiohttp_wide(count: int):
    async def item(number):
        async with Clients.aiohttp.get(f"/items/{number}") as response:  # aiohttp wide
            await response.read()

    await asyncio.gather(*map(item, range(count)))


@router.get("/aiohttp/many/{count}")
async def aiohttp_many(count: int):
    for number in range(count):
        async with Clients.aiohttp.get(f"/items/{number}") as response:  # aiohttp many
            await response.read()


@router.get("/aiohttp/few")
async def aiohttp_few():
    for path in ("/one", "/two", "/three"):
        async with Clients.aiohttp.get(path) as response:  # aiohttp few
            await response.read()


@router.get("/aiohttp/error")
async def aiohttp_error():
    async with Clients.aiohttp.get("/status/500") as response:  # aiohttp error
        await response.read()


@router.get("/aiohttp/secret/{secret}")
async def aiohttp_secret(secret: str):
    where, headers = f"/{secret}?token={secret}", {"authorization": f"Bearer {secret}"}
    sent = Clients.aiohttp.post(where, headers=headers, json=secret)
    async with sent as response:  # aiohttp secret
        await response.read()


@router.get("/aiohttp/new")
async def aiohttp_new():
    async with aiohttp.ClientSession(UPSTREAM) as session:
        async with session.get("/delay/20") as response:  # aiohttp new
            await response.read()
