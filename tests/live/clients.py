# SPDX-License-Identifier: Apache-2.0
"""Clients with their own stop-watch, on bare sockets.

Client is one connection that does what it is told, byte by byte; it has the time at
which the kernel had the bytes, however late it looks. load() sends many
requests over several connections at full speed, from a process of its own on
another CPU than the service, and knows of each when it connected, when its first
byte was sent, and when the first and last byte of the response were there: as the
kernel has it, when they reached the client's socket, and when the client saw them. All
by CLOCK_MONOTONIC, which is the clock of the probes as well.
"""

import json
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache

HOST = "127.0.0.1"
SECONDS = 30
BODYLESS = (204, 304)
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")


@dataclass
class Reply:
    """A response; `status` None: the connection ended before there was one."""

    sent_ns: int = 0
    first_ns: int = 0
    last_ns: int = 0
    connected_ns: int = 0
    #: Its client may have sent it that much after `sent_ns`, for want of a CPU.
    late_ns: int = 0
    status: int | None = None
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    interim: list = field(default_factory=list)
    #: The server closed the connection before the response was whole.
    cut: bool = False

    @property
    def latency_ms(self):
        return (self.last_ns - self.sent_ns) / 1e6

    @property
    def first_byte_ms(self):
        return (self.first_ns - self.sent_ns) / 1e6


class Parser:
    """Bytes of responses in, whole responses out."""

    def __init__(self):
        self.data = b""
        self.reply = None
        self.body_bytes = None

    def feed(self, data, now, head=False):
        """True when a response is complete: `reply` has it."""
        if self.reply is None:
            self.reply = Reply(first_ns=now)
        self.data += data
        while self.reply.status is None:
            if not self._head(head):
                return False
        if not self._body():
            return False
        self.reply.last_ns = now
        return True

    def _head(self, head):
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        status, *lines = self.data[:end].decode("latin-1").split("\r\n")
        code = int(status.split()[1])
        self.data = self.data[end + 4 :]
        if 100 <= code < 200 and code != 101:
            self.reply.interim.append(code)
            return bool(self.data)
        fields = (line.partition(":") for line in lines)
        self.reply.headers = {name.lower(): value.strip() for name, _, value in fields}
        self.reply.status = code
        self.chunked = self.reply.headers.get("transfer-encoding") == "chunked"
        length = self.reply.headers.get("content-length")
        if head or code in BODYLESS or code == 101:
            self.chunked, length = False, 0
        self.body_bytes = None if length is None else int(length)
        return True

    def _body(self):
        if self.chunked:
            return self._chunks()
        if self.body_bytes is None:
            return False  # until the connection is closed
        if len(self.data) < self.body_bytes:
            return False
        self.reply.body, self.data = self.data[: self.body_bytes], self.data[self.body_bytes :]
        return True

    def _chunks(self):
        while (end := self.data.find(b"\r\n")) >= 0:
            size = int(self.data[:end], 16)
            if len(self.data) < end + size + 4:
                return False
            self.reply.body += self.data[end + 2 : end + 2 + size]
            self.data = self.data[end + size + 4 :]
            if not size:
                return True
        return False

    def closed(self, now):
        """The connection has ended; the response, if there is one."""
        reply = self.reply or Reply(first_ns=now)
        by_close = reply.status is not None and not self.chunked and self.body_bytes is None
        reply.cut = not by_close
        reply.body += self.data
        reply.last_ns = now
        return reply

    def taken(self):
        reply, self.reply = self.reply, None
        return reply


def request_bytes(method, path, body=b"", fields=()):
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}", *fields]
    if body or method in ("POST", "PUT"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@cache
def unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def run_delay_ns():
    """For how long this thread was ready to run and had no CPU."""
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1])


class Client:
    """One connection."""

    def __init__(self, port, tls=False, receive_bytes=None, seconds=SECONDS):
        raw = socket.socket()
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        raw.settimeout(seconds)
        raw.connect((HOST, port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connected_ns = time.monotonic_ns()
        self.epoch_ns = time.time_ns() - time.monotonic_ns()
        self.arrived_ns = 0
        self.tls = tls
        if not tls:
            raw.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket = unverified().wrap_socket(raw) if tls else raw
        self.parser = Parser()
        self.late_ns = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def send(self, data):
        """The clock just before, which is when a request begins."""
        late = -run_delay_ns()
        now = time.monotonic_ns()
        self.socket.sendall(data)
        self.late_ns = max(self.late_ns, late + run_delay_ns())
        return now

    def receive(self):
        """What is there; b"" at the end, be it a reset; arrived_ns says since when."""
        try:
            if self.tls:
                data, more = self.socket.recv(1 << 18), ()
            else:
                data, more, _, _ = self.socket.recvmsg(1 << 18, 64)
        except ConnectionError:
            data, more = b"", ()
        self.arrived_ns = time.monotonic_ns()
        for _, _, stamp in more:
            seconds, ns = TIMESPEC.unpack(stamp)
            self.arrived_ns = seconds * 10**9 + ns - self.epoch_ns
        return data

    def reply(self, head=False, sent_ns=0):
        """The next response."""
        done = bool(self.parser.data) and self.parser.feed(b"", self.arrived_ns, head)
        while not done:
            data = self.receive()
            if not data:
                reply = self.parser.closed(self.arrived_ns)
                self.parser = Parser()
                break
            done = self.parser.feed(data, self.arrived_ns, head)
        if done:
            reply = self.parser.taken()
        reply.sent_ns, reply.connected_ns = sent_ns, self.connected_ns
        reply.late_ns = self.late_ns
        return reply

    def ask(self, method, path, body=b"", fields=()):
        sent = self.send(request_bytes(method, path, body, fields))
        return self.reply(head=method == "HEAD", sent_ns=sent)

    def until_closed(self):
        """All bytes up to the end."""
        data = b""
        while more := self.receive():
            data += more
        return data

    def until(self, end):
        """All bytes up to these."""
        data = b""
        while not data.endswith(end) and (more := self.receive()):
            data += more
        return data

    def reset(self):
        """Close with a reset, whatever is on its way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def ask(port, method, path, body=b"", fields=(), **how):
    """One request on a connection of its own."""
    with Client(port, **how) as client:
        return client.ask(method, path, body, fields)


# ---- WebSocket, RFC 6455 -------------------------------------------------------------


class WebSocket(Client):
    def __init__(self, port, path):
        super().__init__(port)
        fields = ("upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13")
        fields += ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",)
        self.answer = self.ask("GET", path, fields=fields)

    def message(self, text, opcode=1):
        data = text.encode()
        assert len(data) < 126
        self.send(bytes([0x80 | opcode, 0x80 | len(data), 0, 0, 0, 0]) + data)

    def received(self):
        """The next message of the server."""
        data, self.parser.data = self.parser.data, b""
        while len(data) < 2 or len(data) < 2 + data[1]:
            more = self.receive()
            if not more:
                return None
            data += more
        size = 2 + data[1]
        self.parser.data = data[size:]
        return data[2:size].decode(errors="replace")

    def goodbye(self):
        """Close as the protocol has it."""
        self.send(b"\x88\x82\0\0\0\0\x03\xe8")
        self.until_closed()
        self.close()


# ---- load ------------------------------------------------------------------------------


@dataclass
class Exchange:
    """One request of a load()."""

    index: int
    connected_ns: int
    sent_ns: int
    first_ns: int
    last_ns: int
    status: int | None
    #: When the bytes of first_ns and last_ns had reached the socket.
    first_arrived_ns: int
    last_arrived_ns: int

    @property
    def latency_ms(self):
        return (self.last_arrived_ns - self.sent_ns) / 1e6

    @property
    def first_byte_ms(self):
        return (self.first_arrived_ns - self.sent_ns) / 1e6

    @property
    def seen_ms(self):
        """With the time until the client got a CPU and came to look."""
        return (self.last_ns - self.sent_ns) / 1e6


def load(port, requests, connections=8, keep_alive=True, tls=False, cpu=None):
    """Send requests, (method, path) or (method, path, body), as fast as they are answered.

    Returns an Exchange for each, in their order.
    """
    requests = [(one[0], one[1], one[2] if len(one) > 2 else "") for one in requests]
    task = {
        "port": port,
        "requests": requests,
        "connections": connections,
        "keep_alive": keep_alive,
        "tls": tls,
        "cpu": cpu,
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return sorted((Exchange(*one) for one in json.loads(done.stdout)), key=lambda e: e.index)


class Lane:
    """One of the connections of a load."""

    def __init__(self, driver):
        self.driver = driver
        self.client = None

    def open(self):
        self.client = Client(self.driver.port, self.driver.tls)
        self.client.socket.setblocking(False)
        self.driver.register(self)

    def next(self):
        """Send the next request; False: there is none left."""
        driver = self.driver
        number = next(driver.todo, None)
        if number is None:
            self.drop()
            return False
        if self.client is None:
            self.open()
        self.number = number
        self.first = None
        method, _, _ = driver.requests[number]
        self.head = method == "HEAD"
        self.sent_ns = time.monotonic_ns()
        self.client.socket.sendall(driver.wires[number])
        return True

    def ready(self):
        client, driver = self.client, self.driver
        while True:
            try:
                data = client.receive()
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
            arrived, now = client.arrived_ns, time.monotonic_ns()
            self.first = self.first or arrived
            if data and not client.parser.feed(data, now, self.head):
                if driver.tls:
                    continue  # records may be left in the library
                return True
            break
        reply = client.parser.taken() if data else client.parser.closed(now)
        times = (client.connected_ns, self.sent_ns, reply.first_ns, now)
        driver.done.append((self.number, *times, reply.status, self.first, arrived))
        # uvicorn closes a connection after an exception without having said so.
        if not data or not driver.keep_alive or reply.status == 500:
            self.drop()
        return self.next()

    def drop(self):
        if self.client is not None:
            self.driver.unregister(self)
            self.client.close()
        self.client = None


class Driver:
    def __init__(self, port, requests, connections, keep_alive, tls, cpu):
        self.port, self.keep_alive, self.tls = port, keep_alive, tls
        self.requests = requests
        fields = () if keep_alive else ("connection: close",)
        self.wires = [request_bytes(m, p, body.encode(), fields) for m, p, body in requests]
        self.connections = connections
        self.todo = iter(range(len(requests)))
        self.done = []
        self.lanes = {}
        self.epoll = select.epoll()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        # What it sees is to be the service's doing, not that of others on its CPU.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def register(self, lane):
        descriptor = lane.client.socket.fileno()
        self.lanes[descriptor] = lane
        self.epoll.register(descriptor, select.EPOLLIN)

    def unregister(self, lane):
        descriptor = lane.client.socket.fileno()
        self.epoll.unregister(descriptor)
        del self.lanes[descriptor]

    def run(self):
        lanes = [Lane(self) for _ in range(min(self.connections, len(self.requests)))]
        for lane in lanes:
            lane.open()
        for lane in lanes:
            lane.next()
        while self.lanes:
            ready = self.epoll.poll(SECONDS)
            if not ready:
                raise TimeoutError(f"{len(self.lanes)} requests are not answered")
            for descriptor, _ in ready:
                self.lanes[descriptor].ready()
        return self.done


if __name__ == "__main__":
    json.dump(Driver(**json.load(sys.stdin)).run(), sys.stdout)
