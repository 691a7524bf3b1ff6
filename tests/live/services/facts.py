# SPDX-License-Identifier: Apache-2.0
"""A service that says what it runs on, and has a thread that sleeps and one that waits."""

import asyncio
import sys
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

app = FastAPI(openapi_url=None)
waiting = threading.Event()
threading.Thread(target=time.sleep, args=(3600,), name="sleeper", daemon=True).start()
threading.Thread(target=waiting.wait, name="waiter ünd mehr", daemon=True).start()


@app.get("/ping")
async def ping():
    return {}


@app.get("/facts")
async def facts():
    loop = type(asyncio.get_running_loop())
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "shared": "/libpython3" in Path("/proc/self/maps").read_text(),
        "loop": "uvloop" if loop.__module__.startswith("uvloop") else "asyncio",
        "uvicorn": uvicorn.__version__,
        "threads": {thread.native_id: thread.name for thread in threading.enumerate()},
        "cmdline": Path("/proc/self/cmdline").read_text().rstrip("\0").replace("\0", " "),
    }
