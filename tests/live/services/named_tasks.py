# SPDX-License-Identifier: Apache-2.0
"""Requests that run in tasks of one name, which nobody is known to wait for."""

import asyncio
import time

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

NAP_S = 0.02


async def nap(request):
    """Blocks twice in one step."""
    time.sleep(NAP_S)
    time.sleep(NAP_S)
    return Response()


inner = Starlette(routes=[Route("/nap", nap)])


async def app(scope, receive, send):
    done = asyncio.Event()
    task = asyncio.create_task(inner(scope, receive, send), name="request")
    task.add_done_callback(lambda _: done.set())
    await done.wait()
    task.result()
