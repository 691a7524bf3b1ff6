# SPDX-License-Identifier: Apache-2.0
"""A loop that is full of small callbacks, and the same work with room between.

Several kinds of tasks wait at a gate. Opened all at once they fill one step of
the loop, none of them for long; opened a few at a time they hurt nobody. One
function as thousands of callbacks, of tasks, and as a single callback.
"""

import asyncio
import gc
import time

import truth
from fastapi import FastAPI

WORK = 2500
TALLY = 8000
BATCH = 20
PAUSE_S = 0.010

app = FastAPI(openapi_url=None)
gc.disable()  # a thousand tasks would make pauses of their own


class Round:
    """What the callbacks of one opening of the gate measured."""

    def __init__(self):
        self.first = self.last = None
        self.count = self.longest = 0

    def ran(self, began):
        ended = time.monotonic_ns()
        self.first = self.first or began
        self.last = ended
        self.longest = max(self.longest, ended - began)
        self.count += 1

    def write(self, route, kind):
        truth.write(
            route=route,
            kind=kind,
            start_ns=self.first,
            end_ns=self.last,
            callbacks=self.count,
            longest_ns=self.longest,
        )


async def parse(gate, current):
    await gate.wait()
    began = time.monotonic_ns()
    sum(range(WORK))
    current.ran(began)


async def price(gate, current):
    await gate.wait()
    began = time.monotonic_ns()
    max(range(WORK))
    current.ran(began)


async def publish(gate, current):
    await gate.wait()
    began = time.monotonic_ns()
    ",".join(map(str, range(WORK // 8)))
    current.ran(began)


async def score(gate, current):
    await gate.wait()
    began = time.monotonic_ns()
    sorted(range(WORK), key=abs)
    current.ran(began)


KINDS = (parse, price, publish, score)


async def crowd(gate, count, current):
    """That many tasks at the gate, made without holding the loop."""
    tasks = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        tasks.append(asyncio.create_task(kind(gate, current), name=f"{kind.__name__}-{number}"))
        if number % BATCH == 0:
            await asyncio.sleep(0.001)
    return tasks


def tally(rounds, current):
    began = time.monotonic_ns()
    for _ in range(rounds):
        sum(range(TALLY))
    current.ran(began)


async def tally_later(gate, current):
    await gate.wait()
    tally(1, current)


@app.get("/ping")
async def ping():
    return {}


@app.get("/callbacks/{count}")
async def callbacks(count: int):
    """Callbacks of one function, in no task."""
    loop, current = asyncio.get_running_loop(), Round()
    done = loop.create_future()
    for _ in range(count):
        loop.call_soon(tally, 1, current)
    loop.call_soon(done.set_result, None)
    await done
    current.write("GET /callbacks/{count}", "loop_saturated")


@app.get("/tasks/{count}")
async def tasks(count: int):
    """Tasks of one coroutine function."""
    gate, current, crowded = asyncio.Event(), Round(), []
    for number in range(count):
        crowded.append(asyncio.create_task(tally_later(gate, current)))
        if number % BATCH == 0:
            await asyncio.sleep(0.001)
    gate.set()
    await asyncio.wait(crowded)
    current.write("GET /tasks/{count}", "loop_saturated")


@app.get("/one/{rounds}")
async def one(rounds: int):
    """As much work in a single callback of the same function."""
    loop, current = asyncio.get_running_loop(), Round()
    done = loop.create_future()
    loop.call_soon(tally, rounds, current)
    loop.call_soon(done.set_result, None)
    await done
    current.write("GET /one/{rounds}", "cpu_stall")


@app.get("/burst/{tasks}/{rounds}")
async def burst(tasks: int, rounds: int):
    gates = [(asyncio.Event(), Round()) for _ in range(rounds)]
    crowds = [await crowd(gate, tasks, current) for gate, current in gates]
    for (gate, current), crowded in zip(gates, crowds, strict=True):
        gate.set()
        await asyncio.wait(crowded)
        current.write("GET /burst/{tasks}/{rounds}", "loop_saturated")


@app.get("/spread/{tasks}/{rounds}")
async def spread(tasks: int, rounds: int):
    current = Round()
    for _ in range(tasks * rounds // BATCH):
        gate = asyncio.Event()
        crowded = await crowd(gate, BATCH, current)
        gate.set()
        await asyncio.wait(crowded)
        await asyncio.sleep(PAUSE_S)
    current.write("GET /spread/{tasks}/{rounds}", "healthy")
