# SPDX-License-Identifier: Apache-2.0
"""Peers that do not answer, refuse, reset, encrypt, or are very many; see clients.py."""

import asyncio
import contextlib
import socket
import struct

import asyncpg
import httpx
from addresses import HOST, PG, UPSTREAM, UPSTREAM_PORT, UPSTREAM_TLS
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from upstream import names_at

QUERY = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + b"\7service\4test\0\0\1\0\1"

router = APIRouter()


class Clients:
    """Set by open_clients()."""


async def open_clients(stack):
    enter = stack.enter_async_context
    Clients.httpx = await enter(httpx.AsyncClient(base_url=UPSTREAM, timeout=None))
    Clients.tls = await enter(httpx.AsyncClient(base_url=UPSTREAM_TLS, verify=False))
    Clients.named = await enter(httpx.AsyncClient(base_url=f"http://localhost:{UPSTREAM_PORT}"))
    Clients.asyncpg = await enter(asyncpg.create_pool(**PG, min_size=1, max_size=2))
    # Bound and not listening: nobody else gets the port, and it refuses.
    Clients.closed = stack.enter_context(socket.socket())
    Clients.closed.bind((HOST, 0))
    Clients.closed_port = Clients.closed.getsockname()[1]


@router.get("/trouble/closed-port")
async def closed_port():
    return Clients.closed_port


@router.get("/trouble/never")
async def never():
    await Clients.httpx.get("/never")  # trouble never


@router.get("/trouble/never-thread")
def never_in_thread():
    with socket.create_connection((HOST, UPSTREAM_PORT)) as connection:
        connection.sendall(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")  # trouble never-thread
        connection.recv(1)


@router.get("/trouble/refused")
async def refused():
    try:
        await Clients.httpx.get(f"http://{HOST}:{Clients.closed_port}/")  # trouble refused
    except httpx.ConnectError:
        return {}


@router.get("/trouble/refused-thread")
def refused_in_thread():
    with contextlib.suppress(ConnectionRefusedError), socket.socket() as blocking:
        blocking.connect((HOST, Clients.closed_port))  # trouble refused-thread
    with contextlib.suppress(ConnectionRefusedError), socket.socket() as patient:
        patient.settimeout(5)
        patient.connect((HOST, Clients.closed_port))  # trouble refused-timeout


@router.get("/trouble/reset")
async def reset():
    try:
        await Clients.httpx.get("/reset")  # trouble reset
    except httpx.TransportError:
        return {}


@router.get("/trouble/tls/{ms}")
async def tls(ms: int):
    await Clients.tls.get(f"/delay/{ms}")  # trouble tls


@router.get("/trouble/tls-new/{ms}")
async def tls_new(ms: int):
    async with httpx.AsyncClient(verify=False) as client:
        await client.get(f"{UPSTREAM_TLS}/delay/{ms}")  # trouble tls-new


def look_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.connect(names_at(UPSTREAM_PORT))
        resolver.send(QUERY)  # trouble dns
        resolver.recv(512)


@router.get("/trouble/dns/{ms}")
async def dns(ms: int):
    """A name is looked up in a thread while a query runs, and before an HTTP request."""
    query = Clients.asyncpg.fetch("SELECT pg_sleep($1)", ms / 1e3)
    await asyncio.gather(run_in_threadpool(look_up), query)
    async with httpx.AsyncClient() as client:
        await client.get(f"http://localhost:{UPSTREAM_PORT}/delay/20")  # trouble named


@router.get("/trouble/peers/{first}/{count}")
async def peers(first: int, count: int):
    """As many peers, by their addresses."""
    for number in range(first, first + count):
        host = f"127.8.{number // 250}.{number % 250 + 1}"
        reader, writer = await asyncio.open_connection(host, UPSTREAM_PORT)
        writer.write(b"GET /many HTTP/1.1\r\nhost: x\r\n\r\n")  # trouble peers
        await reader.readuntil(b"true}")
        writer.close()
