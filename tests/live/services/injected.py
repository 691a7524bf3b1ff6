# SPDX-License-Identifier: Apache-2.0
"""``Depends`` of every kind, and middleware; the slow line ends in a comment with its name."""

import asyncio
import time
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware

SLOW = 0.2
app = FastAPI(openapi_url=None)
behind = FastAPI(openapi_url=None)
app.mount("/behind", behind)


@app.get("/ping")
async def ping():
    return {}


@app.get("/threads/{count}")
async def limit_threads(count: int):
    anyio.to_thread.current_default_thread_limiter().total_tokens = count


# ---- one slow callable each ----------------------------------------------------------


async def asynchronous():
    await asyncio.sleep(SLOW)  # asynchronous


def synchronous():
    time.sleep(SLOW)  # synchronous


async def entering():
    await asyncio.sleep(SLOW)  # entering
    yield 1


async def leaving():
    yield 1
    await asyncio.sleep(SLOW)  # leaving


def entering_in_thread():
    time.sleep(SLOW)  # entering_in_thread
    yield 1


class Page:
    def __init__(self):
        time.sleep(SLOW)  # Page


class Checker:
    async def __call__(self):
        await asyncio.sleep(SLOW)  # Checker


async def helper():
    await asyncio.sleep(SLOW)


async def through_helper():
    await helper()  # through_helper


@app.get("/slow/asynchronous")
async def slow_asynchronous(found: Annotated[object, Depends(asynchronous)]):
    return {}


@app.get("/slow/synchronous")
async def slow_synchronous(found: Annotated[object, Depends(synchronous)]):
    return {}


@app.get("/slow/entering")
async def slow_entering(found: Annotated[object, Depends(entering)]):
    return {}


@app.get("/slow/leaving")
async def slow_leaving(found: Annotated[object, Depends(leaving, scope="function")]):
    return {}


@app.get("/slow/entering-in-thread")
async def slow_entering_in_thread(found: Annotated[object, Depends(entering_in_thread)]):
    return {}


@app.get("/slow/class")
async def slow_class(found: Annotated[Page, Depends()]):
    return {}


@app.get("/slow/instance")
async def slow_instance(found: Annotated[object, Depends(Checker())]):
    return {}


@app.get("/slow/helper")
async def slow_helper(found: Annotated[object, Depends(through_helper)]):
    return {}


@app.get("/slow/of-the-route", dependencies=[Depends(asynchronous)])
async def slow_of_the_route():
    return {}


# ---- one below the other -------------------------------------------------------------


async def inner():
    await asyncio.sleep(SLOW)  # inner


async def outer(found: Annotated[object, Depends(inner)]):
    await asyncio.sleep(SLOW / 4)


@app.get("/nested")
async def nested(found: Annotated[object, Depends(outer)]):
    return {}


# ---- once or four times ------------------------------------------------------------


async def user():
    await asyncio.sleep(0.03)  # user


def needs_user(use_cache):
    async def one(found: Annotated[object, Depends(user, use_cache=use_cache)]):
        pass

    async def two(found: Annotated[object, Depends(user, use_cache=use_cache)]):
        pass

    async def three(found: Annotated[object, Depends(user, use_cache=use_cache)]):
        pass

    return one, two, three


one, two, three = needs_user(use_cache=True)
one_new, two_new, three_new = needs_user(use_cache=False)


@app.get("/four/cached")
async def four_cached(
    a: Annotated[object, Depends(one)],
    b: Annotated[object, Depends(two)],
    c: Annotated[object, Depends(three)],
    found: Annotated[object, Depends(user)],
):
    return {}


@app.get("/four/new")
async def four_new(
    a: Annotated[object, Depends(one_new)],
    b: Annotated[object, Depends(two_new)],
    c: Annotated[object, Depends(three_new)],
    found: Annotated[object, Depends(user, use_cache=False)],
):
    return {}


# ---- healthy -----------------------------------------------------------------------


async def quick():
    await asyncio.sleep(0.002)


def quick_in_thread():
    time.sleep(0.002)


async def kept_open():
    yield 1


@app.get("/quick")
async def endpoint_is_slow(
    a: Annotated[object, Depends(quick)],
    b: Annotated[object, Depends(quick_in_thread)],
    c: Annotated[object, Depends(kept_open)],
):
    await asyncio.sleep(SLOW)


@app.get("/token/taken")
def token_taken():
    time.sleep(SLOW)


@app.get("/token/wanted")
async def token_wanted(found: Annotated[object, Depends(quick_in_thread)]):
    return {}


# ---- middleware --------------------------------------------------------------------


class PlainMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("plain"):
            await asyncio.sleep(0.1)
        await self.app(scope, receive, send)


class OwnTime(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        if request.url.path.endswith("based"):
            await asyncio.sleep(0.1)
        return await call_next(request)


behind.add_middleware(PlainMiddleware)
behind.add_middleware(OwnTime)


@behind.get("/plain")
async def behind_plain():
    await asyncio.sleep(SLOW)


@behind.get("/based")
async def behind_based():
    await asyncio.sleep(SLOW)


@behind.get("/neither")
async def behind_neither():
    await asyncio.sleep(SLOW)
