# SPDX-License-Identifier: Apache-2.0
"""Routes of every kind that HTTP has: for counting and for stop-watches."""

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

FOLDER = Path(os.environ["LOOPSCOPE_FOLDER"]) / "static"
FOLDER.mkdir(exist_ok=True)
(FOLDER / "page.txt").write_text("a page\n" * 100)
BEGUN = os.open(FOLDER.parent / "begun", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
LARGE = b"x" * (4 << 20)

app = FastAPI(openapi_url=None)
items = APIRouter(prefix="/items")
reviews = APIRouter(prefix="/{item_id}/reviews")
gates = defaultdict(asyncio.Event)
background_ended = 0


def burn(ms):
    """Python code for that long, in CPU time of this thread."""
    until = time.thread_time_ns() + int(ms * 1e6)
    while time.thread_time_ns() < until:
        pass


def tell():
    """One byte in a file for each request that goes on for a while: seen without the loop."""
    os.write(BEGUN, b".")


async def session():
    yield {}


# ---- answers ---------------------------------------------------------------------------


@items.get("")
async def list_items():
    return [1, 2, 3]


@items.post("", status_code=201)
async def create_item(request: Request):
    return {"bytes": len(await request.body())}


@items.get("/{item_id}")
async def get_item(item_id: str):
    return {"id": item_id}


@items.put("/{item_id}")
async def put_item(item_id: int, request: Request):
    return {"bytes": len(await request.body())}


@items.delete("/{item_id}", status_code=204)
async def delete_item(item_id: int):
    pass


@reviews.get("")
async def list_reviews(item_id: int, state: Annotated[dict, Depends(session)]):
    return {"of": item_id}


items.include_router(reviews)
app.include_router(items)
app.include_router(items, prefix="/api/v2")


@app.get("/empty")
async def empty():
    return Response(status_code=200)


@app.get("/not-modified")
async def not_modified():
    return Response(status_code=304, headers={"etag": '"a"'})


@app.get("/redirect")
async def redirect():
    return RedirectResponse("/items")


@app.get("/refused")
async def refused():
    raise HTTPException(503)


@app.get("/broken")
async def broken():
    raise RuntimeError("on purpose")


@app.get("/text", response_class=PlainTextResponse)
async def text():
    return "text" * 1000


@app.get("/large/{size}")
async def large(size: int):
    return Response(LARGE[:size])


@app.get("/stream/{parts}/{ms}")
async def stream(parts: int, ms: float):
    async def produce():
        for number in range(parts):
            if number:
                await asyncio.sleep(ms / 1e3)
            yield b"part %d\n" % number

    return StreamingResponse(produce())


@app.get("/stream-fast/{parts}/{size}")
async def stream_fast(parts: int, size: int):
    async def produce():
        for _ in range(parts):
            yield LARGE[:size]

    return StreamingResponse(produce())


@app.get("/background/{ms}")
async def background(ms: float):
    async def later():
        global background_ended
        await asyncio.sleep(ms / 1e3)
        background_ended += 1

    return JSONResponse({}, background=BackgroundTask(later))


@app.get("/background-ended")
async def how_many_ended():
    return background_ended


# ---- where time goes --------------------------------------------------------------------


@app.get("/sleep/{ms}")
async def sleep(ms: float):
    tell()
    await asyncio.sleep(ms / 1e3)


@app.get("/gather/{count}/{ms}")
async def gather(count: int, ms: float):
    await asyncio.gather(*(asyncio.sleep(ms / 1e3) for _ in range(count)))


@app.get("/thread/{ms}")
def thread(ms: float):
    time.sleep(ms / 1e3)


@app.get("/block/{ms}")
async def block(ms: float):
    tell()
    time.sleep(ms / 1e3)


@app.get("/burn/{ms}")
async def burn_on_loop(ms: float):
    burn(ms)


@app.get("/bursts/{count}/{ms}")
async def bursts(count: int, ms: float):
    """In steps of their own, most of them too short for a clock sample, without a call."""
    for _ in range(count):
        burn(ms)
        await asyncio.sleep(0)


@app.get("/gate/{name}")
async def gate(name: str):
    await gates[name].wait()


@app.get("/open/{name}")
async def open_gate(name: str):
    gates[name].set()


@app.get("/never")
async def never():
    tell()
    await asyncio.Event().wait()


@app.get("/stream-never")
async def stream_never():
    async def produce():
        yield b"begun"
        await asyncio.Event().wait()

    return StreamingResponse(produce())


@app.api_route("/upload", methods=["POST", "PUT"])
async def upload(request: Request):
    size = 0
    async for part in request.stream():
        size += len(part)
    return {"bytes": size}


# ---- websockets -------------------------------------------------------------------------


@app.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str):
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/closed")
async def closed(websocket: WebSocket):
    await websocket.close()


# ---- applications below this one ----------------------------------------------------------


async def plain(request):
    return JSONResponse({"path": request.url.path})


class Wrapper(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-wrapped"] = "yes"
        return response


sub = FastAPI(openapi_url=None)


@sub.get("/things/{thing}")
async def thing(thing: int):
    return {"thing": thing}


app.mount("/static", StaticFiles(directory=FOLDER))
app.mount("/sub/v1", sub)
app.mount("/sub/v2", sub)
app.router.routes.append(
    Mount(
        "/wrapped",
        routes=[Route("/plain/{name}", plain), Mount("/deep", routes=[Route("/{n:int}", plain)])],
        middleware=[Middleware(Wrapper)],
    )
)
app.router.routes.append(Route("/plain/{name}", plain))
