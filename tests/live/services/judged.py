# SPDX-License-Identifier: Apache-2.0
"""A service that is slow for one reason at a time, as the path says; two worker threads."""

import asyncio
import contextlib
import os
import time

import anyio
from fastapi import FastAPI, Request

THREADS = 2
UPSTREAM = int(os.environ["LOOPSCOPE_UPSTREAM"])


@contextlib.asynccontextmanager
async def lifespan(_app):
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.get("/ping")
async def ping():
    return {}


@app.get("/client")
async def client(request: Request):
    return request.client


@app.get("/block/{ms}")
async def block(ms: int):
    time.sleep(ms / 1e3)  # block


@app.get("/thread/{ms}")
def thread(ms: int):
    time.sleep(ms / 1e3)  # thread


@app.get("/peer/{ms}")
async def peer(ms: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", UPSTREAM)
    request = f"GET /delay/{ms} HTTP/1.1\r\nhost: upstream\r\n\r\n"
    writer.write(request.encode())  # peer
    await reader.readuntil(b"}")
    writer.close()


@app.get("/timer/{ms}")
async def timer(ms: int):
    await asyncio.sleep(ms / 1e3)


@app.get("/spin/{ms}")
async def spin(ms: int):
    """Work that lets others have the loop after each 2 ms of it."""
    for _ in range(ms // 2):
        end = time.thread_time_ns() + 2_000_000
        while time.thread_time_ns() < end:
            pass
        await asyncio.sleep(0)
