# SPDX-License-Identifier: Apache-2.0
"""Three executors, each with fewer threads than there are calls; what they say is at /numbers."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI

SAMPLE_S = 0.002


class Mailer(ThreadPoolExecutor):
    """Somebody's own class."""


executors = {
    "reports": ThreadPoolExecutor(2, "reports"),
    "mails": Mailer(1, "mails"),
    "default executor": ThreadPoolExecutor(3, "asyncio"),
}
numbers = {}
before = {}


def note_all():
    """The most that waited for longer than the moment in which a thread begins with one."""
    for name, executor in executors.items():
        seen = numbers.setdefault(name, {"size": executor._max_workers, "waiting": 0})
        waiting = executor._work_queue.qsize()
        seen["waiting"] = max(seen["waiting"], min(before.get(name, 0), waiting))
        before[name] = waiting


async def sample():
    while True:
        note_all()
        await asyncio.sleep(SAMPLE_S)


@contextlib.asynccontextmanager
async def lifespan(_app):
    asyncio.get_running_loop().set_default_executor(executors["default executor"])
    sampler = asyncio.create_task(sample())
    yield
    sampler.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/numbers")
async def all_numbers():
    return numbers


@app.get("/reset")
async def reset():
    numbers.clear()


def report(ms):
    time.sleep(ms / 1e3)  # reports


def mail(ms):
    time.sleep(ms / 1e3)  # mails


def look_up(ms):
    time.sleep(ms / 1e3)  # default executor


@app.get("/reports/{ms}")
async def reports(ms: int):
    await asyncio.get_running_loop().run_in_executor(executors["reports"], report, ms)


@app.get("/mails/{ms}")
async def mails(ms: int):
    await asyncio.get_running_loop().run_in_executor(executors["mails"], mail, ms)


@app.get("/default/{ms}")
async def default(ms: int):
    await asyncio.to_thread(look_up, ms)
