# SPDX-License-Identifier: Apache-2.0
"""A service that replaces itself, has a second event loop, or is forked; run as a script:

    python processes.py PORT COUNT    forks COUNT workers, after everything is imported
"""

import asyncio
import os
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager

import truth
from fastapi import FastAPI

second = asyncio.new_event_loop()


@asynccontextmanager
async def lifespan(app):
    thread = threading.Thread(target=second.run_forever, name="second loop", daemon=True)
    thread.start()
    yield
    second.call_soon_threadsafe(second.stop)
    thread.join()


app = FastAPI(lifespan=lifespan, openapi_url=None)


def block(route, ms, **more):
    mark = truth.begin(route, "blocking_call")
    time.sleep(ms / 1e3)
    truth.end(mark, **more)


async def chore(ms):
    await asyncio.sleep(0)
    block(None, ms)


@app.get("/ping")
async def ping():
    return {"pid": os.getpid(), "tids": [os.getpid(), *thread_ids()]}


def thread_ids():
    return [t.native_id for t in threading.enumerate() if t.name == "second loop"]


@app.get("/sleep/{ms}")
async def sleep(ms: float):
    block("GET /sleep/{ms}", ms)


@app.get("/second/{ms}")
async def on_second_loop(ms: float):
    """Blocks the other loop: this one goes on."""
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(chore(ms), second))


def replace():
    """The same program anew, in the same process."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@app.get("/exec")
async def replace_from_loop():
    replace()


@app.get("/exec-in-thread")
async def replace_from_thread():
    """The kernel ends all other threads first, the one that the process is known by as well."""
    threading.Thread(target=replace).start()


def serve(listener):
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def main(port, count):
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    for _ in range(count):
        if os.fork() == 0:
            truth.forked()
            serve(listener)
            os._exit(0)
    for _ in range(count):
        os.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
