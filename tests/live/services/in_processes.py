# SPDX-License-Identifier: Apache-2.0
"""Work that is given to two other processes."""

import asyncio
import contextlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

from fastapi import FastAPI

PROCESSES = 2
executor = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))


@contextlib.asynccontextmanager
async def lifespan(_app):
    # Both are there when the first request comes.
    started = [executor.submit(time.sleep, 0.2) for _ in range(PROCESSES)]
    await asyncio.gather(*map(asyncio.wrap_future, started))
    yield
    executor.shutdown()


app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.get("/compute/{ms}")
async def compute(ms: int):
    await asyncio.get_running_loop().run_in_executor(executor, time.sleep, ms / 1e3)
