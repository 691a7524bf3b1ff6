# SPDX-License-Identifier: Apache-2.0
"""Requests that wait until /go: for an event, in a thread, with two tasks."""

import asyncio
import threading

from fastapi import Depends, FastAPI

app = FastAPI()
held = asyncio.Event()
held_thread = threading.Event()


async def settled():
    await held.wait()


@app.get("/")
async def index():
    return {}


@app.get("/go")
async def go():
    held.set()
    held_thread.set()
    return {}


@app.get("/items/{number}", dependencies=[Depends(settled)])
async def item(number: int):
    return number


@app.post("/threads/{number}")
def thread(number: int):
    held_thread.wait()
    return number


@app.get("/both/{number}")
async def both(number: int):
    await asyncio.gather(settled(), settled())
    return number
