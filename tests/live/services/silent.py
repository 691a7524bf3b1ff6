# SPDX-License-Identifier: Apache-2.0
"""Peers that are not waited for any longer, and what only looks alike.

LOOPSCOPE_SILENT is the port of a peer that takes all and says nothing, LOOPSCOPE_PROMPT
that of one that answers at once. Each route returns how long its client waited, in ms.
"""

import asyncio
import contextlib
import os
import socket
import time
from contextlib import asynccontextmanager

import aiohttp
import httpx
from fastapi import FastAPI

HOST = "127.0.0.1"
SILENT = (HOST, int(os.environ["LOOPSCOPE_SILENT"]))
PROMPT = (HOST, int(os.environ["LOOPSCOPE_PROMPT"]))
REQUEST = b"GET /report HTTP/1.1\r\nhost: x\r\n\r\n"
URL = f"http://{HOST}:{SILENT[1]}/report"


@asynccontextmanager
async def lifespan(app):
    async with httpx.AsyncClient() as app.state.httpx, aiohttp.ClientSession() as app.state.aiohttp:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/httpx/{ms}")
async def by_httpx(ms: int):
    began = time.monotonic()
    with contextlib.suppress(httpx.ReadTimeout):
        await app.state.httpx.get(URL, timeout=ms / 1e3)
    return (time.monotonic() - began) * 1e3


@app.get("/aiohttp/{ms}")
async def by_aiohttp(ms: int):
    """Its connection is closed once the response has been sent."""
    began = time.monotonic()
    with contextlib.suppress(asyncio.TimeoutError):
        await app.state.aiohttp.get(URL, timeout=aiohttp.ClientTimeout(total=ms / 1e3))
    return (time.monotonic() - began) * 1e3


@app.get("/thread/{ms}")
def in_thread(ms: int):
    began = time.monotonic()
    with socket.create_connection(SILENT) as connection:
        connection.settimeout(ms / 1e3)
        connection.sendall(REQUEST)
        with contextlib.suppress(TimeoutError):
            connection.recv(1)
    return (time.monotonic() - began) * 1e3


@app.get("/told/{ms}")
async def told(ms: int):
    """Nobody expects an answer to that; the time goes to a timer."""
    began = time.monotonic()
    _, writer = await asyncio.open_connection(*SILENT)
    writer.write(b"report 7 was made\n")
    await asyncio.sleep(ms / 1e3)
    writer.close()
    return (time.monotonic() - began) * 1e3


@app.get("/unread/{ms}")
async def unread(ms: int):
    """The answer is there, and the loop is held until the client waits no longer."""
    began = time.monotonic()
    _, writer = await asyncio.open_connection(*PROMPT)
    writer.write(REQUEST)
    time.sleep(ms / 1e3)
    writer.transport.abort()
    return (time.monotonic() - began) * 1e3


@app.get("/left/{ms}")
async def left(ms: int):
    """The request is over long before its client gives the connection up."""
    _, writer = await asyncio.open_connection(*SILENT)
    writer.write(REQUEST)
    asyncio.get_running_loop().call_later(ms / 1e3, writer.close)
    return 0
