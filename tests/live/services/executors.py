# SPDX-License-Identifier: Apache-2.0
"""Three executors, each with fewer threads than there are calls; what they say is at /numbers."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import sampled
from fastapi import FastAPI


class Mailer(ThreadPoolExecutor):
    """Somebody's own class."""


executors = {
    "reports": ThreadPoolExecutor(2, "reports"),
    "mails": Mailer(1, "mails"),
    "default executor": ThreadPoolExecutor(3, "asyncio"),
}


def note_all():
    for name, executor in executors.items():
        sampled.note(name, executor._max_workers, 0, executor._work_queue.qsize())


@contextlib.asynccontextmanager
async def lifespan(_app):
    asyncio.get_running_loop().set_default_executor(executors["default executor"])
    async with sampled.sampling(note_all):
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(sampled.router)


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
