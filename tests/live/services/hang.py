# SPDX-License-Identifier: Apache-2.0
"""Requests that never come back: the loop spins, sleeps, waits for a lock.

Each says when it began in a line of the truth, then holds the loop for good.
"""

import asyncio
import threading
import time

import truth
from fastapi import FastAPI

app = FastAPI(openapi_url=None)
held = threading.Lock()


def began(route):
    truth.write(route=route, kind="hang", start_ns=time.monotonic_ns())


def spin():
    number = 0
    while True:
        number = (number + 1) % 1000


@app.get("/ping")
async def ping():
    return {}


@app.get("/spin/{number}")
async def spin_forever(number: int):
    began("GET /spin/{number}")
    spin()


@app.post("/sleep/{number}")
async def sleep_forever(number: int):
    began("POST /sleep/{number}")
    time.sleep(3600)


@app.get("/lock/{number}")
async def lock_forever(number: int):
    held.acquire()
    began("GET /lock/{number}")
    held.acquire()


async def sweep():
    await asyncio.sleep(0.05)
    began(None)
    time.sleep(3600)


@app.get("/spawn/{number}")
async def spawn(number: int):
    """Hangs in a task that belongs to no request."""
    app.state.sweeper = asyncio.create_task(sweep(), name="sweeper")
