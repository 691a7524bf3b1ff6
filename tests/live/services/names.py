# SPDX-License-Identifier: Apache-2.0
"""Requests that call peers by their names, on the loop and in a thread."""

import os
import urllib.request

import httpx
from fastapi import FastAPI

PORT = os.environ["LOOPSCOPE_UPSTREAM"]
app = FastAPI(openapi_url=None)


@app.get("/ask/{host}")
async def ask(host: str):
    async with httpx.AsyncClient() as client:
        await client.get(f"http://{host}:{PORT}/one")


@app.get("/ask-thread/{host}")
def ask_in_thread(host: str):
    with urllib.request.urlopen(f"http://{host}:{PORT}/one") as answer:
        answer.read()
