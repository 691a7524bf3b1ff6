# SPDX-License-Identifier: Apache-2.0
"""Requests that call an HTTP/2 server, one call at a time and two on one connection."""

import asyncio
import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

CLEAR = f"http://127.0.0.1:{os.environ['LOOPSCOPE_UPSTREAM']}"
TLS = f"https://localhost:{os.environ['LOOPSCOPE_UPSTREAM_TLS']}"


class Clients:
    """Set by lifespan()."""


@asynccontextmanager
async def lifespan(app):
    async with (
        httpx.AsyncClient(base_url=CLEAR, http1=False, http2=True) as Clients.clear,
        httpx.AsyncClient(base_url=TLS, http2=True, verify=False) as Clients.tls,
    ):
        yield


app = FastAPI(openapi_url=None, lifespan=lifespan)


async def call(client, ms):
    answer = await client.get(f"/{ms}")
    assert answer.http_version == "HTTP/2" and answer.json() == {}


@app.get("/kept/{ms}")
async def kept(ms: int):
    await call(Clients.clear, ms)


@app.get("/new/{ms}")
async def new(ms: int):
    async with httpx.AsyncClient(base_url=CLEAR, http1=False, http2=True) as client:
        await call(client, ms)


@app.get("/both/{ms}")
async def both(ms: int):
    await asyncio.gather(call(Clients.clear, ms), call(Clients.clear, 2 * ms))


@app.get("/tls/{ms}")
async def tls(ms: int):
    await call(Clients.tls, ms)
