# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for one thing each, and queries that are as few as can be."""

import asyncio
import time
from typing import Annotated

import asyncpg
import httpx
import redis.asyncio
from addresses import PG, REDIS, UPSTREAM
from clients_async import URL
from fastapi import APIRouter, Depends
from sqlalchemy import ForeignKey, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from starlette.concurrency import run_in_threadpool

AUTHORS, BOOKS = 20, 3

router = APIRouter()


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list["Book"]] = relationship()


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))


class Clients:
    """Set by open_clients()."""


async def open_clients(stack):
    enter = stack.enter_async_context
    Clients.engine = create_async_engine(URL, pool_size=1, max_overflow=0)
    stack.push_async_callback(Clients.engine.dispose)
    async with Clients.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(Clients.engine) as session:
        if not await session.scalar(select(Author.id).limit(1)):
            session.add_all(Author(books=[Book() for _ in range(BOOKS)]) for _ in range(AUTHORS))
            await session.commit()
    Clients.asyncpg = await enter(asyncpg.create_pool(**PG, min_size=1, max_size=1))
    Clients.redis = await enter(redis.asyncio.Redis(**REDIS))
    Clients.httpx = await enter(httpx.AsyncClient(base_url=UPSTREAM))
    one = httpx.Limits(max_connections=1)
    Clients.httpx_one = await enter(httpx.AsyncClient(base_url=UPSTREAM, limits=one))
    Clients.wanted = asyncio.Event()


# ---- one statement for all of them, or one for each ---------------------------------


@router.get("/orm/each")
async def orm_each():
    async with AsyncSession(Clients.engine) as session:
        authors = (await session.scalars(select(Author))).all()  # orm list
        for author in authors:
            await session.scalars(select(Book).where(Book.author_id == author.id))  # orm each


@router.get("/orm/selectin")
async def orm_selectin():
    async with AsyncSession(Clients.engine) as session:
        await session.scalars(select(Author).options(selectinload(Author.books)))  # orm selectin


@router.get("/orm/in")
async def orm_in():
    async with AsyncSession(Clients.engine) as session:
        await session.scalars(select(Book).where(Book.author_id.in_(range(20))))  # orm in


# ---- a fast peer while the loop is busy ----------------------------------------------


@router.get("/busy/ask")
async def ask_meanwhile():
    Clients.wanted.set()
    await Clients.httpx.get("/delay/2")  # busy ask


@router.get("/busy/block/{ms}")
async def block_meanwhile(ms: int):
    await Clients.wanted.wait()
    Clients.wanted.clear()
    await asyncio.sleep(0.001)
    time.sleep(ms / 1e3)


# ---- waits ---------------------------------------------------------------------------


@router.get("/wait/sleep/{ms}")
async def wait_sleep(ms: int):
    await asyncio.sleep(ms / 1e3)


@router.get("/wait/blpop/{ms}")
async def wait_blpop(ms: int):
    await Clients.redis.blpop(["nothing"], timeout=ms / 1e3)


@router.get("/wait/thread/{ms}")
async def wait_thread(ms: int):
    await run_in_threadpool(time.sleep, ms / 1e3)


@router.get("/wait/def/{ms}")
def wait_def(ms: int):
    time.sleep(ms / 1e3)


@router.get("/wait/tokens/{ms}")
def wait_tokens(ms: int):
    """For when AnyIO may use but one thread."""
    time.sleep(ms / 1e3)


@router.get("/wait/httpx-pool/{ms}")
async def wait_httpx_pool(ms: int):
    await Clients.httpx_one.get(f"/delay/{ms}")


@router.get("/wait/asyncpg-pool/{ms}")
async def wait_asyncpg_pool(ms: int):
    await Clients.asyncpg.fetch("SELECT pg_sleep($1)", ms / 1e3)


@router.get("/wait/sqlalchemy-pool/{ms}")
async def wait_sqlalchemy_pool(ms: int):
    async with Clients.engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(:s)"), {"s": ms / 1e3})


@router.get("/wait/gather/{ms}")
async def wait_gather(ms: int):
    """Two waits at once count once."""
    query = Clients.asyncpg.fetch("SELECT pg_sleep($1)", ms / 1e3)
    await asyncio.gather(query, Clients.httpx.get(f"/delay/{ms}"), asyncio.sleep(ms / 1e3))


# ---- a `Depends` that waits for its turn ---------------------------------------------


async def pooled_connection():
    async with Clients.asyncpg.acquire() as connection:
        yield connection


@router.get("/injected/pool/{ms}")
async def injected_pool(ms: int, connection: Annotated[object, Depends(pooled_connection)]):
    await asyncio.sleep(ms / 1e3)


async def slow_query():
    await Clients.httpx.get("/delay/200")


@router.get("/injected/query")
async def injected_query(found: Annotated[object, Depends(slow_query)]):
    return {}
