# SPDX-License-Identifier: Apache-2.0
"""Requests that call PostgreSQL, Redis and an HTTP server in every way that is tested.

The line of a call ends in a comment with its name: a client and what it does,
"asyncpg slow". Every client has the same routes: /CLIENT/slow/MS, /CLIENT/many/COUNT,
/CLIENT/few, /CLIENT/error and /CLIENT/secret/TEXT, and one for a connection of its own.
"""

import asyncio
import gc
from contextlib import AsyncExitStack, asynccontextmanager

import anyio.to_thread
import clients_async
import clients_threads
import clients_trouble
import clients_waits
from fastapi import FastAPI

MODULES = (clients_async, clients_threads, clients_trouble, clients_waits)


@asynccontextmanager
async def lifespan(app):
    async with AsyncExitStack() as stack:
        for module in MODULES:
            await module.open_clients(stack)
        # All that was imported takes a collection some 60 ms, which is found, rightly.
        gc.freeze()
        yield


app = FastAPI(openapi_url=None, lifespan=lifespan)
for module in MODULES:
    app.include_router(module.router)


@app.get("/ping")
async def ping():
    return {}


@app.get("/threads/{count}")
async def limit_threads(count: int):
    """How many threads AnyIO may use."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = count


@app.get("/settle")
async def settle():
    """Everything that requests left behind has come to rest."""
    await asyncio.sleep(0.05)
