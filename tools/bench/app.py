# SPDX-License-Identifier: Apache-2.0
"""What `make bench` measures: a healthy FastAPI service, and one route that is not."""

import asyncio
import time

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(openapi_url=None)


class Item(BaseModel):
    item_id: int
    name: str
    price: float
    tags: list[str] = []


@app.get("/items/{item_id}", response_model=Item)
async def item(item_id: int):
    return {"item_id": item_id, "name": f"item {item_id}", "price": 9.5, "tags": ["a", "b", "c"]}


@app.get("/waiting/{count}")
async def waiting(count: int):
    """So many tasks of one request that never ends."""
    never = asyncio.Event()
    await asyncio.gather(*(never.wait() for _ in range(count)))


@app.get("/block/{ms}")
async def block(ms: float):
    time.sleep(ms / 1e3)
