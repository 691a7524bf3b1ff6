# SPDX-License-Identifier: Apache-2.0
"""Clients that block a worker thread; see clients.py."""

import asyncio

import psycopg
import psycopg2
import redis
import requests
from addresses import DSN, DSN_UNIX, REDIS, REDIS_SOCKET, UPSTREAM
from fastapi import APIRouter
from redis.exceptions import ResponseError
from starlette.concurrency import run_in_threadpool

FEW = ("SELECT 1", "SELECT 2 AS two", "SELECT now()")

router = APIRouter()


class Clients:
    """Set by open_clients(); used by one request at a time."""


async def open_clients(stack):
    Clients.psycopg2 = psycopg2.connect(DSN)
    Clients.psycopg2.autocommit = True
    stack.callback(Clients.psycopg2.close)
    Clients.psycopg = stack.enter_context(psycopg.connect(DSN, autocommit=True))
    Clients.redis = stack.enter_context(redis.Redis(**REDIS))
    Clients.redis.ping()
    Clients.redis_unix = stack.enter_context(redis.Redis(unix_socket_path=REDIS_SOCKET))
    Clients.requests = stack.enter_context(requests.Session())
    Clients.requests.get(UPSTREAM)


# ---- psycopg2 in `def` endpoints -----------------------------------------------------


@router.get("/psycopg2/slow/{ms}")
def psycopg2_slow(ms: int):
    with Clients.psycopg2.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [ms / 1e3])  # psycopg2 slow


@router.get("/psycopg2/many/{count}")
def psycopg2_many(count: int):
    with Clients.psycopg2.cursor() as cursor:
        for number in range(count):
            cursor.execute("SELECT %s + 1", [number])  # psycopg2 many


@router.get("/psycopg2/few")
def psycopg2_few():
    with Clients.psycopg2.cursor() as cursor:
        for statement in FEW:
            cursor.execute(statement)  # psycopg2 few


@router.get("/psycopg2/error")
def psycopg2_error():
    with Clients.psycopg2.cursor() as cursor:
        try:
            cursor.execute("SELECT * FROM missing")  # psycopg2 error
        except psycopg2.errors.UndefinedTable:
            return {}


@router.get("/psycopg2/secret/{secret}")
def psycopg2_secret(secret: str):
    with Clients.psycopg2.cursor() as cursor:
        cursor.execute("SELECT %s", [secret])  # psycopg2 secret


@router.get("/psycopg2/new")
def psycopg2_new():
    connection = psycopg2.connect(DSN_UNIX)
    connection.autocommit = True
    connection.cursor().execute("SELECT pg_sleep(0.02)")  # psycopg2 new
    connection.close()


# ---- psycopg in run_in_threadpool ------------------------------------------------


@router.get("/psycopg-sync/slow/{ms}")
async def psycopg_slow(ms: int):
    def ask():
        Clients.psycopg.execute("SELECT pg_sleep(%s)", [ms / 1e3])  # psycopg-sync slow

    await run_in_threadpool(ask)


@router.get("/psycopg-sync/many/{count}")
async def psycopg_many(count: int):
    def ask():
        for number in range(count):
            Clients.psycopg.execute("SELECT %s + 1", [number])  # psycopg-sync many

    await run_in_threadpool(ask)


@router.get("/psycopg-sync/few")
async def psycopg_few():
    def ask():
        for statement in FEW:
            Clients.psycopg.execute(statement)  # psycopg-sync few

    await run_in_threadpool(ask)


@router.get("/psycopg-sync/error")
async def psycopg_error():
    def ask():
        try:
            Clients.psycopg.execute("SELECT * FROM missing")  # psycopg-sync error
        except psycopg.errors.UndefinedTable:
            pass

    await run_in_threadpool(ask)


@router.get("/psycopg-sync/secret/{secret}")
async def psycopg_secret(secret: str):
    def ask():
        query = f"SELECT '{secret}', %s::text"
        Clients.psycopg.execute(query, [secret])  # psycopg-sync secret

    await run_in_threadpool(ask)


@router.get("/psycopg-sync/new")
async def psycopg_new():
    def ask():
        with psycopg.connect(DSN, autocommit=True) as connection:
            connection.execute("SELECT pg_sleep(0.02)")  # psycopg-sync new

    await run_in_threadpool(ask)


# ---- redis in asyncio.to_thread ----------------------------------------------------


@router.get("/redis-sync/slow/{ms}")
async def redis_slow(ms: int):
    def ask():
        Clients.redis.execute_command("DEBUG", "SLEEP", ms / 1e3)  # redis-sync slow

    await asyncio.to_thread(ask)


@router.get("/redis-sync/many/{count}")
async def redis_many(count: int):
    def ask():
        for number in range(count):
            Clients.redis.get(f"key:{number}")  # redis-sync many

    await asyncio.to_thread(ask)


@router.get("/redis-sync/few")
async def redis_few():
    def ask():
        Clients.redis.mget([f"key:{number}" for number in range(30)])  # redis-sync few

    await asyncio.to_thread(ask)


@router.get("/redis-sync/error")
async def redis_error():
    def ask():
        try:
            Clients.redis.execute_command("LPUSH", "only-one")  # redis-sync error
        except ResponseError:
            pass

    await asyncio.to_thread(ask)


@router.get("/redis-sync/secret/{secret}")
async def redis_secret(secret: str):
    def ask():
        Clients.redis.set(secret, secret * 20, ex=10)  # redis-sync secret

    await asyncio.to_thread(ask)


@router.get("/redis-sync/new")
async def redis_new():
    def ask():
        with redis.Redis(unix_socket_path=REDIS_SOCKET) as client:
            client.execute_command("DEBUG", "SLEEP", 0.02)  # redis-sync new

    await asyncio.to_thread(ask)


# ---- requests in `def` endpoints -----------------------------------------------------


@router.get("/requests/slow/{ms}")
def requests_slow(ms: int):
    Clients.requests.get(f"{UPSTREAM}/delay/{ms}")  # requests slow


@router.get("/requests/many/{count}")
def requests_many(count: int):
    for number in range(count):
        Clients.requests.get(f"{UPSTREAM}/items/{number}")  # requests many


@router.get("/requests/wide/{count}")
async def requests_wide(count: int):
    def item(number):
        requests.get(f"{UPSTREAM}/items/{number}")  # requests wide

    await asyncio.gather(*(run_in_threadpool(item, number) for number in range(count)))


@router.get("/requests/few")
def requests_few():
    for path in ("/one", "/two", "/three"):
        Clients.requests.get(f"{UPSTREAM}{path}")  # requests few


@router.get("/requests/error")
def requests_error():
    Clients.requests.get(f"{UPSTREAM}/status/500")  # requests error


@router.get("/requests/secret/{secret}")
def requests_secret(secret: str):
    where, headers = f"{UPSTREAM}/{secret}?token={secret}", {"authorization": f"Bearer {secret}"}
    Clients.requests.post(where, headers=headers, json=secret)  # requests secret


@router.get("/requests/new")
def requests_new():
    requests.get(f"{UPSTREAM}/delay/20", timeout=30)  # requests new
