# SPDX-License-Identifier: Apache-2.0
"""Twenty routes, each a little slow, among garbage: whose call was it?

Every response names its route template and endpoint in its headers; ``/truth``
counts them, ``/slept`` those whose call went to sleep, and those whose thread left its
CPU for whatever reason meanwhile. Between requests objects of requests are freed and
their memory is used again.
"""

import asyncio
import gc
import os
import resource
import time
from collections import Counter

from fastapi import APIRouter, Depends, FastAPI, Response
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

SLEEP_S = float(os.environ.get("LOOPSCOPE_SLEEP_S", "0.00015"))
COLLECT_EVERY = 64

served = Counter()
slept, left = Counter(), Counter()


def switches():
    """How often this thread went to sleep, and how often another one had its CPU.

    A call whose time is over by then does not sleep, and is a slow one nevertheless where
    it was in the call that the other one came.
    """
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nvcsw, usage.ru_nivcsw


def told(response, before, route, endpoint):
    """Count the request, and say in its response which route it was."""
    after = switches()
    slept[route] += after[0] > before[0]
    left[route] += after > before
    served[route] += 1
    response.headers["x-route"] = route
    response.headers["x-endpoint"] = endpoint


class Churn:
    """A cycle with some weight, to be freed by the collector only."""

    def __init__(self, scope):
        self.me = self
        self.scope = dict(scope)
        self.weight = [{"n": n} for n in range(20)]


class ChurnMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        Churn(request.scope)
        response = await call_next(request)
        Churn(request.scope)
        if sum(served.values()) % COLLECT_EVERY == 0:
            gc.collect(1)
        return response


async def session():
    await asyncio.sleep(0)
    yield {}


# ---- routers, one included in the other --------------------------------------------

items = APIRouter(prefix="/items", dependencies=[Depends(session)])
reviews = APIRouter(prefix="/{item_id}/reviews")
users = APIRouter()
admin = APIRouter(prefix="/admin")


@items.get("")
async def list_items(response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/items", "list_items")
    return [1, 2, 3]


@items.post("")
async def create_item(response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "POST /api/v1/items", "create_item")


@items.get("/latest")
async def latest_item(response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/items/latest", "latest_item")


@items.get("/{item_id}")
async def get_item(item_id: int, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/items/{item_id}", "get_item")
    return {"id": item_id}


@items.delete("/{item_id}")
async def delete_item(item_id: int, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "DELETE /api/v1/items/{item_id}", "delete_item")


@reviews.get("")
async def list_reviews(item_id: int, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/items/{item_id}/reviews", "list_reviews")


@reviews.get("/{review_id}")
async def get_review(item_id: int, review_id: int, response: Response):
    await asyncio.sleep(0)
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/items/{item_id}/reviews/{review_id}", "get_review")


@users.get("/users")
async def list_users(response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/users", "list_users")


@users.get("/users/{name}")
async def get_user(name: str, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/users/{name}", "get_user")


@users.put("/users/{name}")
async def put_user(name: str, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "PUT /api/v1/users/{name}", "put_user")


@users.get("/users/{name}/avatar", dependencies=[Depends(session)])
async def get_avatar(name: str, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /api/v1/users/{name}/avatar", "get_avatar")


@admin.get("/jobs")
async def list_jobs(response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /admin/jobs", "list_jobs")


@admin.get("/jobs/{job_id}/log/{line}")
async def job_log(job_id: str, line: int, response: Response):
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /admin/jobs/{job_id}/log/{line}", "job_log")


# ---- mounted applications ----------------------------------------------------------

reports = FastAPI(openapi_url=None)


@reports.get("/{year}")
async def report_year(year: int, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /reports/{year}", "report_year")


@reports.get("/{year}/{month}")
async def report_month(year: int, month: int, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /reports/{year}/{month}", "report_month")


async def plain_index(request):
    response = JSONResponse({})
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /plain/index", "plain_index")
    return response


async def plain_page(request):
    response = JSONResponse(dict(request.path_params))
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /plain/deep/{page}", "plain_page")
    return response


plain = Starlette(
    routes=[
        Route("/index", plain_index),
        Mount("/deep", routes=[Route("/{page}", plain_page)]),
    ]
)

# ---- the application ---------------------------------------------------------------

app = FastAPI(openapi_url=None)
app.add_middleware(ChurnMiddleware)
items.include_router(reviews)
app.include_router(items, prefix="/api/v1")
app.include_router(users, prefix="/api/v1")
app.include_router(admin)
app.mount("/reports", reports)
app.mount("/plain", plain)


async def health(request):
    response = JSONResponse({})
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /health", "health")
    return response


app.router.routes.append(Route("/health", health))


@app.get("/files/{path:path}")
async def get_file(path: str, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "GET /files/{path}", "get_file")


@app.post("/echo/{word}")
async def echo(word: str, response: Response):
    before = switches()
    time.sleep(SLEEP_S)
    told(response, before, "POST /echo/{word}", "echo")
    return word


@app.get("/truth")
async def counts():
    return served


@app.get("/slept")
async def naps():
    return slept, left


#: (method, path with {n} for a number, route) of every route.
ROUTES = [
    ("GET", "/api/v1/items", "GET /api/v1/items"),
    ("POST", "/api/v1/items", "POST /api/v1/items"),
    ("GET", "/api/v1/items/latest", "GET /api/v1/items/latest"),
    ("GET", "/api/v1/items/{n}", "GET /api/v1/items/{item_id}"),
    ("DELETE", "/api/v1/items/{n}", "DELETE /api/v1/items/{item_id}"),
    ("GET", "/api/v1/items/{n}/reviews", "GET /api/v1/items/{item_id}/reviews"),
    ("GET", "/api/v1/items/7/reviews/{n}", "GET /api/v1/items/{item_id}/reviews/{review_id}"),
    ("GET", "/api/v1/users", "GET /api/v1/users"),
    ("GET", "/api/v1/users/u{n}", "GET /api/v1/users/{name}"),
    ("PUT", "/api/v1/users/u{n}", "PUT /api/v1/users/{name}"),
    ("GET", "/api/v1/users/u{n}/avatar", "GET /api/v1/users/{name}/avatar"),
    ("GET", "/admin/jobs", "GET /admin/jobs"),
    ("GET", "/admin/jobs/j/log/{n}", "GET /admin/jobs/{job_id}/log/{line}"),
    ("GET", "/reports/{n}", "GET /reports/{year}"),
    ("GET", "/reports/{n}/12", "GET /reports/{year}/{month}"),
    ("GET", "/plain/index", "GET /plain/index"),
    ("GET", "/plain/deep/p{n}", "GET /plain/deep/{page}"),
    ("GET", "/health", "GET /health"),
    ("GET", "/files/a/{n}.txt", "GET /files/{path}"),
    ("POST", "/echo/w{n}", "POST /echo/{word}"),
]
