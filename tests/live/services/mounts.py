# SPDX-License-Identifier: Apache-2.0
"""The same applications and routes, mounted at several places."""

import time

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

SLEEP_S = 0.03

items = FastAPI(openapi_url=None)


@items.get("/items/{number}")
async def get_item(number: int):
    time.sleep(SLEEP_S)


async def plain(request):
    time.sleep(SLEEP_S)
    return JSONResponse({})


plains = [Route("/plain/{number}", plain)]
app = FastAPI(openapi_url=None)
app.mount("/v1", items)
app.mount("/v2", items)
app.mount("/tenant/{tenant}", items)
app.router.routes.append(
    Mount("/inner", routes=[Mount("/v3", routes=plains), Mount("/v4", routes=plains)])
)
