# SPDX-License-Identifier: Apache-2.0
"""A small closed-loop HTTP/1.1 and websocket load driver on plain asyncio streams."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

WARM_UP_REQUESTS = 4


@dataclass(slots=True)
class Lane:
    """One stream of identical requests."""

    path: str
    method: str = "GET"
    concurrency: int = 1
    requests: int | None = None
    seconds: float | None = None
    interval_ms: float = 0.0
    delay_ms: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    body_repeat: dict[str, Any] = field(default_factory=dict)
    protocol: str = "http"
    messages: int = 1
    upload_ms: float = 0.0
    read_pause_ms: float = 0.0

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Lane:
        known = {key: value for key, value in raw.items() if key in cls.__slots__}
        lane = cls(**known)
        if lane.body_repeat:
            repeat = lane.body_repeat
            items = ",".join([repeat["item"]] * repeat["count"])
            lane.body = f"{repeat['open']}{items}{repeat['close']}"
        return lane


@dataclass(slots=True)
class LaneResult:
    path: str
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.latencies_ms)

        def pick(fraction: float) -> float:
            if not ordered:
                return 0.0
            return round(ordered[min(len(ordered) - 1, int(fraction * len(ordered)))], 2)

        return {
            "path": self.path,
            "n": len(ordered),
            "p50_ms": pick(0.5),
            "p95_ms": pick(0.95),
            "max_ms": pick(1.0),
            "statuses": dict(self.statuses),
        }


async def _drain_slowly(reader: asyncio.StreamReader, length: int, pause_ms: float) -> None:
    """Read a body in eight portions with a pause before each: a slow client."""
    portion = length // 8
    for number in range(8):
        await asyncio.sleep(pause_ms / 1e3)
        await reader.readexactly(portion if number < 7 else length - 7 * portion)


async def _send_slowly(writer: asyncio.StreamWriter, request: bytes, spread_ms: float) -> None:
    """Send a request in eight portions spread over ``spread_ms``."""
    portion = max(len(request) // 8, 1)
    for start in range(0, len(request), portion):
        writer.write(request[start : start + portion])
        await writer.drain()
        await asyncio.sleep(spread_ms / 8e3)


async def _read_response(reader: asyncio.StreamReader, pause_ms: float) -> tuple[int, bool]:
    """Consume one response; return its status and whether the connection stays open."""
    status_line = await reader.readline()
    if not status_line:
        raise ConnectionError("closed before a response")
    status = int(status_line.split()[1])
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while (size := int((await reader.readline()).strip() or b"0", 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    elif "content-length" in headers and pause_ms:
        await _drain_slowly(reader, int(headers["content-length"]), pause_ms)
    elif "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    elif status not in (204, 304):
        await reader.read()
        return status, False
    return status, headers.get("connection", "").lower() != "close"


def _request_bytes(lane: Lane, path: str, host: str, case: str) -> bytes:
    body = (lane.body or "").encode()
    head = [f"{lane.method} {path} HTTP/1.1", f"host: {host}", f"x-lab-case: {case}"]
    head += [f"{name}: {value}" for name, value in lane.headers.items()]
    if body or lane.method in ("POST", "PUT", "PATCH"):
        head.append(f"content-length: {len(body)}")
        if not any(name.lower() == "content-type" for name in lane.headers):
            head.append("content-type: application/json")
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


async def _http_worker(
    lane: Lane, counter: itertools.count[int], host: str, port: int, case: str, result: LaneResult
) -> None:
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    deadline = time.perf_counter() + lane.seconds if lane.seconds else None
    while True:
        number = next(counter)
        if lane.requests is not None and number >= lane.requests:
            break
        if deadline is not None and time.perf_counter() >= deadline:
            break
        path = lane.path.replace("{n}", str(number + 1))
        began = time.perf_counter()
        try:
            if writer is None:
                buffer = 1 << 16 if lane.read_pause_ms else 1 << 22
                reader, writer = await asyncio.open_connection(host, port, limit=buffer)
            assert reader is not None
            request = _request_bytes(lane, path, f"{host}:{port}", case)
            if lane.upload_ms:
                await _send_slowly(writer, request, lane.upload_ms)
            else:
                writer.write(request)
                await writer.drain()
            status, keep = await _read_response(reader, lane.read_pause_ms)
            result.statuses[str(status)] += 1
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            result.statuses[type(error).__name__] += 1
            keep = False
        result.latencies_ms.append((time.perf_counter() - began) * 1e3)
        if not keep and writer is not None:
            writer.close()
            writer = None
        if lane.interval_ms:
            await asyncio.sleep(lane.interval_ms / 1e3)
    if writer is not None:
        writer.close()


def _ws_connect(url: str, headers: dict[str, str]) -> Any:
    """A websocket client connection; websockets before 13 spells it differently."""
    try:
        from websockets.asyncio.client import connect
    except ImportError:
        from websockets.client import connect as legacy_connect

        return legacy_connect(url, extra_headers=headers, max_size=None)
    return connect(url, additional_headers=headers, max_size=None)


async def _ws_worker(lane: Lane, host: str, port: int, case: str, result: LaneResult) -> None:
    url = f"ws://{host}:{port}{lane.path}"
    async with _ws_connect(url, {"x-lab-case": case, **lane.headers}) as socket:
        for number in range(lane.messages):
            began = time.perf_counter()
            await socket.send(lane.body or json.dumps({"n": number}))
            await socket.recv()
            result.latencies_ms.append((time.perf_counter() - began) * 1e3)
            result.statuses["message"] += 1
            if lane.interval_ms:
                await asyncio.sleep(lane.interval_ms / 1e3)


async def run_lane(lane: Lane, host: str, port: int, case: str) -> LaneResult:
    result = LaneResult(lane.path)
    if lane.delay_ms:
        await asyncio.sleep(lane.delay_ms / 1e3)
    if lane.protocol == "ws":
        workers = [_ws_worker(lane, host, port, case, result) for _ in range(lane.concurrency)]
    else:
        counter = itertools.count()
        workers = [
            _http_worker(lane, counter, host, port, case, result) for _ in range(lane.concurrency)
        ]
    await asyncio.gather(*workers)
    return result


async def run_case(
    load: dict[str, Any], host: str, port: int, case: str
) -> list[dict[str, Any]]:
    """Run the main lane and its companions (``with``) at the same time."""
    lanes = [Lane.parse(load), *(Lane.parse(raw) for raw in load.get("with", []))]
    results = await asyncio.gather(*(run_lane(lane, host, port, case) for lane in lanes))
    return [result.summary() for result in results]


async def warm_up(load: dict[str, Any], host: str, port: int) -> None:
    """A few requests of the main lane before a case: what only the first ones pay for (imports,
    ORM mappers, compiled queries, new connections) belongs to no case."""
    few = min(load["concurrency"], load.get("warm_up", WARM_UP_REQUESTS))
    once = {"concurrency": few, "requests": few, "messages": 1, "seconds": None}
    quick = {"interval_ms": 0.0, "delay_ms": 0.0, "upload_ms": 0.0, "read_pause_ms": 0.0}
    await run_lane(Lane.parse({**load, **once, **quick}), host, port, "warm-up")
