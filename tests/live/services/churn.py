# SPDX-License-Identifier: Apache-2.0
"""A service in which everything comes and goes: for soak.py."""

import asyncio
import importlib
import os
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated

import truth
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect
from upstream import names_at

UPSTREAM = int(os.environ["LOOPSCOPE_UPSTREAM"])
FOLDER = Path(os.environ["LOOPSCOPE_FOLDER"]) / "late"
PEERS = 32
LATE = """
import time


class Late:
    def work(self, ms):
        time.sleep(ms / 1e3)
"""

app = FastAPI(openapi_url=None)
kept = set()
FOLDER.mkdir(exist_ok=True)
sys.path.append(str(FOLDER))


async def session():
    yield {}


@app.get("/pid/{n}")
async def pid(n: int):
    return os.getpid()


@app.get("/items/{item}")
async def item(item: str):
    return {"item": item}


@app.get("/users/{user}/orders/{order}")
async def order(user: int, order: int, state: Annotated[dict, Depends(session)]):
    return {"of": user, "order": order}


@app.get("/sleep/{ms}")
async def sleep(ms: float):
    await asyncio.sleep(ms / 1e3)


@app.get("/refused/{n}")
async def refused(n: int):
    raise HTTPException(503)


@app.get("/broken/{n}")
async def broken(n: int):
    raise RuntimeError("on purpose")


@app.get("/stream/{parts}")
async def stream(parts: int):
    async def produce():
        for number in range(parts):
            yield b"part %d\n" % number
            await asyncio.sleep(0.001)

    return StreamingResponse(produce())


@app.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str):
    await websocket.accept()
    await websocket.send_text(str(os.getpid()))
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


# ---- tasks, threads and processes that end ---------------------------------------------


async def step():
    await asyncio.sleep(0.001)


async def after():
    """Goes on when the request is over, and is slow enough to be looked at."""
    await asyncio.sleep(0.02)
    time.sleep(0.003)


@app.get("/tasks/{n}")
async def tasks(n: int):
    steps = [asyncio.create_task(step(), name=f"step-{n}-{i}") for i in range(4)]
    await asyncio.gather(*steps)
    task = asyncio.create_task(after(), name=f"after-{n}")
    kept.add(task)
    task.add_done_callback(kept.discard)


@app.get("/thread/{n}")
def in_thread(n: int):
    time.sleep(0.001)


@app.get("/own-thread/{n}")
async def own_thread(n: int):
    threading.Thread(target=time.sleep, args=(0.003,), name=f"job-{n}").start()


@app.get("/executor/{n}")
async def executor(n: int):
    with ThreadPoolExecutor(2) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, time.sleep, 0.001) for _ in range(3)))


@app.get("/subprocess/{n}")
async def subprocess(n: int):
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


# ---- what holds the loop -----------------------------------------------------------------


@app.get("/stall/{ms}")
async def stall(ms: float):
    mark = truth.begin("GET /stall/{ms}", "blocking_call")
    time.sleep(ms / 1e3)
    truth.end(mark)


@app.get("/late/{name}/{ms}")
async def late(name: str, ms: float):
    """A module that is imported now and forgotten again, as plug-ins are."""
    path = FOLDER / f"late_{name}.py"
    if not path.exists():
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(LATE)
        half.replace(path)
        importlib.invalidate_caches()
    module = importlib.import_module(path.stem)
    mark = truth.begin("GET /late/{name}/{ms}", "blocking_call")
    module.Late().work(ms)
    truth.end(mark)
    del sys.modules[path.stem]


# ---- peers -------------------------------------------------------------------------------


def peer_of(n):
    return f"127.9.0.{n % PEERS}"


@app.get("/peer/{n}")
async def peer(n: int):
    reader, writer = await asyncio.open_connection(peer_of(n), UPSTREAM)
    writer.write(b"GET /delay/2 HTTP/1.1\r\nhost: peer\r\n\r\n")
    await reader.readuntil(b"}")
    writer.close()


@app.get("/peer-thread/{n}")
def peer_in_thread(n: int):
    connection = HTTPConnection(peer_of(n), UPSTREAM)
    connection.request("GET", "/delay/2")
    connection.getresponse().read()
    connection.close()


class Question(asyncio.DatagramProtocol):
    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        if not self.answer.done():
            self.answer.set_result(data)


@app.get("/lookup/{n}")
async def lookup(n: int):
    """Each from a socket of its own, as resolvers do it."""
    transport, question = await asyncio.get_running_loop().create_datagram_endpoint(
        Question, remote_addr=names_at(UPSTREAM), family=socket.AF_INET
    )
    label = b"a%d" % (n % PEERS)
    header = struct.pack("!HHHHHH", n & 0xFFFF, 0x100, 1, 0, 0, 0)
    transport.sendto(header + bytes([len(label)]) + label + b"\4test\0\0\1\0\1")
    await question.answer
    transport.close()
