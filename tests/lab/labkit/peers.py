# SPDX-License-Identifier: Apache-2.0
"""Controllable peers: two HTTP upstreams, an SMTP sink and a slow DNS server.

HTTP paths: ``/delay/<ms>`` answers after that many milliseconds, ``/items/<id>`` and
``/items?ids=1,2,3`` answer after 5 ms. The slow upstream adds 250 ms to every answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time

from labkit.settings import get_settings

SLOW_EXTRA_MS = 250
DNS_DELAY_MS = 250
SMTP_DELAY_MS = 150


async def _http_peer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra_ms: int
) -> None:
    try:
        while line := await reader.readline():
            path = line.decode().split()[1]
            length = 0
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            if length:
                await reader.readexactly(length)
            wait_ms = int(path.rsplit("/", 1)[1]) if path.startswith("/delay/") else 5
            await asyncio.sleep((wait_ms + extra_ms) / 1e3)
            body = json.dumps({"path": path, "at": time.time()}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                + f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    except (ConnectionError, ValueError, IndexError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _smtp_peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept any message; take a while to acknowledge its body."""

    async def say(text: str) -> None:
        writer.write(text.encode() + b"\r\n")
        await writer.drain()

    try:
        await say("220 lab ready")
        in_data = False
        while line := await reader.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            if in_data:
                if text == ".":
                    in_data = False
                    await asyncio.sleep(SMTP_DELAY_MS / 1e3)
                    await say("250 queued")
                continue
            verb = text.split(" ")[0].upper()
            if verb == "DATA":
                in_data = True
                await say("354 go ahead")
            elif verb == "QUIT":
                await say("221 bye")
                break
            else:
                await say("250 ok")
    except ConnectionError:
        pass
    finally:
        writer.close()


class _SlowDns(asyncio.DatagramProtocol):
    """Answers every A query with 127.0.0.1 (and AAAA with nothing), late."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asyncio.get_running_loop().call_later(DNS_DELAY_MS / 1e3, self._answer, data, addr)

    def _answer(self, query: bytes, addr: tuple[str, int]) -> None:
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        is_a = struct.unpack("!H", question[-4:-2])[0] == 1
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if is_a else 0, 0, 0)
        answer = b""
        if is_a:
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton("127.0.0.1")
        self._transport.sendto(header + question + answer, addr)  # type: ignore[attr-defined]


async def serve() -> None:
    settings = get_settings()
    loop = asyncio.get_running_loop()
    await asyncio.start_server(lambda r, w: _http_peer(r, w, 0), settings.host, settings.fast_port)
    await asyncio.start_server(
        lambda r, w: _http_peer(r, w, SLOW_EXTRA_MS), settings.host, settings.slow_port
    )
    await asyncio.start_server(_smtp_peer, settings.host, settings.smtp_port)
    await loop.create_datagram_endpoint(_SlowDns, local_addr=("127.0.0.2", 53))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
