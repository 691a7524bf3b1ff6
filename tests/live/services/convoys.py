# SPDX-License-Identifier: Apache-2.0
"""Locks that requests take one after the other, held for as long as the path says.

A line that waits for a lock ends in a comment with the route's name, and so does the line that
its holder is at while others wait.
"""

import asyncio
import contextlib
import time

import anyio
from fastapi import FastAPI

AFTER_S = 0.06


class Locks:
    """Made below the loop that uses them: by the first request."""

    longest_s = 0.0


app = FastAPI(openapi_url=None)


@contextlib.contextmanager
def timed():
    began = time.monotonic()
    yield
    Locks.longest_s = max(Locks.longest_s, time.monotonic() - began)


@app.get("/ping")
async def ping():
    if not hasattr(Locks, "plain"):
        Locks.plain, Locks.rebuilt, Locks.short = (asyncio.Lock() for _ in range(3))
        Locks.condition = asyncio.Condition()
        Locks.anyio = anyio.Lock()
        Locks.keys = {}
    return {}


@app.get("/longest")
async def longest():
    """For how many ms one of them was held at most, since somebody asked."""
    longest_s, Locks.longest_s = Locks.longest_s, 0.0
    return longest_s * 1e3


@app.get("/plain/{ms}")
async def plain(ms: int):
    async with Locks.plain:  # plain
        with timed():
            await asyncio.sleep(ms / 1e3)  # plain held
    # It holds nothing any more, and is seen here as often.
    await asyncio.sleep(AFTER_S)


async def update(ms):
    with timed():
        await asyncio.sleep(ms / 1e3)  # rebuilt held


@app.get("/rebuild/{ms}")
async def rebuild(ms: int):
    async with Locks.rebuilt:
        await update(ms)


@app.get("/rebuilt")
async def rebuilt():
    async with Locks.rebuilt:  # rebuilt
        return {}


@app.get("/condition/{ms}")
async def condition(ms: int):
    async with Locks.condition:  # condition
        with timed():
            await asyncio.sleep(ms / 1e3)  # condition held


@app.get("/anyio/{ms}")
async def of_anyio(ms: int):
    async with Locks.anyio:  # anyio
        with timed():
            await asyncio.sleep(ms / 1e3)  # anyio held


# ---- healthy ----------------------------------------------------------------------


@app.get("/short/{ms}")
async def short(ms: int):
    """The slow part is done before the lock is taken."""
    await asyncio.sleep(ms / 1e3)
    async with Locks.short:
        await asyncio.sleep(0)


@app.get("/key/{key}/{ms}")
async def for_each_key(key: int, ms: int):
    async with Locks.keys.setdefault(key, asyncio.Lock()):
        await asyncio.sleep(ms / 1e3)


@app.get("/news/{ms}")
async def news(ms: int):
    """Waits to be told, which is what a condition is for."""
    async with Locks.condition:
        try:
            await asyncio.wait_for(Locks.condition.wait(), ms / 1e3)
        except TimeoutError:
            pass
