# SPDX-License-Identifier: Apache-2.0
"""Requests that call MariaDB through aiomysql; routes and names as in clients.py."""

import os
from contextlib import asynccontextmanager

import aiomysql
from fastapi import FastAPI
from pymysql.err import ProgrammingError

WHERE = {"host": "127.0.0.1", "port": int(os.environ["LOOPSCOPE_MARIADB"]), "user": "root"}


class Clients:
    """Set by lifespan()."""


@asynccontextmanager
async def lifespan(app):
    async with aiomysql.create_pool(**WHERE, minsize=2, maxsize=4) as Clients.pool:
        yield


app = FastAPI(openapi_url=None, lifespan=lifespan)


@asynccontextmanager
async def cursor():
    async with Clients.pool.acquire() as connection, connection.cursor() as cursor:
        yield cursor


@app.get("/aiomysql/slow/{ms}")
async def aiomysql_slow(ms: int):
    async with cursor() as mysql:
        await mysql.execute("SELECT sleep(%s)", (ms / 1e3,))  # aiomysql slow


@app.get("/aiomysql/many/{count}")
async def aiomysql_many(count: int):
    async with cursor() as mysql:
        for number in range(count):
            await mysql.execute("SELECT %s + 1", (number,))  # aiomysql many


@app.get("/aiomysql/few")
async def aiomysql_few():
    async with cursor() as mysql:
        for statement in ("SELECT 1", "SELECT 2 AS two", "SELECT now()"):
            await mysql.execute(statement)  # aiomysql few


@app.get("/aiomysql/error")
async def aiomysql_error():
    try:
        async with cursor() as mysql:
            await mysql.execute("SELECT * FROM mysql.missing")  # aiomysql error
    except ProgrammingError:
        return {}


@app.get("/aiomysql/secret/{secret}")
async def aiomysql_secret(secret: str):
    async with cursor() as mysql:
        await mysql.execute(f"SELECT '{secret}', %s", (secret,))  # aiomysql secret


@app.get("/aiomysql/new")
async def aiomysql_new():
    connection = await aiomysql.connect(**WHERE)
    async with connection.cursor() as mysql:
        await mysql.execute("SELECT sleep(0.02)")  # aiomysql new
    connection.close()


@app.get("/aiomysql/unix/{ms}")
async def aiomysql_unix(ms: int):
    where = {"unix_socket": os.environ["LOOPSCOPE_MARIADB_SOCKET"], "user": "root"}
    connection = await aiomysql.connect(**where)
    async with connection.cursor() as mysql:
        await mysql.execute("SELECT sleep(%s)", (ms / 1e3,))  # aiomysql unix
    connection.close()
