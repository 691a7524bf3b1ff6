# SPDX-License-Identifier: Apache-2.0
"""A small shop: two routes that hold the event loop, and their healthy twins.

``SUPPLIER`` names the host:port of a supplier that takes its time (load.py).
"""

import asyncio
import hashlib
import os
import urllib.request

from fastapi import FastAPI

HOST, PORT = os.environ.get("SUPPLIER", "127.0.0.1:9").rsplit(":", 1)

app = FastAPI()


def hash_password(password):
    return hashlib.scrypt(password.encode(), salt=b"demo", n=2**15, r=8, p=1, maxmem=2**26).hex()


@app.get("/price/{item}")
async def price(item: int):
    """Blocks: a synchronous client in an async function."""
    with urllib.request.urlopen(f"http://{HOST}:{PORT}/{item}", timeout=5) as answer:
        return {"item": item, "price": answer.read().decode()}


@app.get("/price-async/{item}")
async def price_async(item: int):
    """Its healthy twin: the same supplier, awaited."""
    reader, writer = await asyncio.open_connection(HOST, int(PORT))
    writer.write(f"GET /{item} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return {"item": item, "price": answer.rpartition(b"\r\n\r\n")[2].decode()}


@app.post("/login")
async def login(name: str):
    """Stalls: a slow hash on the thread of the event loop."""
    return {"name": name, "token": hash_password(name)}


@app.post("/login-thread")
async def login_thread(name: str):
    """Its healthy twin: the same hash in a worker thread."""
    return {"name": name, "token": await asyncio.to_thread(hash_password, name)}


@app.get("/health")
async def health():
    return {"ok": True}
