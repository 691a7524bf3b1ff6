# SPDX-License-Identifier: Apache-2.0
"""The load of soak.py: many clients of services/churn.py, and what each request came to.

Of each kind of request there are three numbers: those that were answered by a process
that was observed when their connection was opened must be in the report (`done`);
those that were answered by one that was not observed yet (`early`), or not answered in
full (`cut`: the worker was killed, or the client left), may be in it.
"""

import asyncio
import itertools
import os
import random
import re
import signal
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import harness
from clients import WebSocket

RESET = struct.pack("ii", 1, 0)
#: Far above the threshold: a thread that has to give its CPU away on its way into a call
#: sleeps for less.
STALL_MS = 80
LATE_MODULES = 8
LONGEST_CONNECTION = 200  # requests
START_SECONDS = 60  # of a worker, on a machine that is busy with others
GONE = (OSError, EOFError, ValueError, IndexError)  # what reading from a killed worker raises


@dataclass(frozen=True)
class Kind:
    """`path` with a number in it, `route` as the report has it, one of so many requests."""

    route: str
    path: str
    one_of: float
    status: int = 200
    method: str = "GET"

    @property
    def name(self):
        return f"{self.method} {self.route}"


HELLO = Kind("/pid/{n}", "/pid/{n}", 0)
STREAM = Kind("/stream/{parts}", "/stream/3", 40)
SLEEP = Kind("/sleep/{ms}", "/sleep/5", 30)
STALL = Kind("/stall/{ms}", f"/stall/{STALL_MS}", 500)
LATE = Kind("/late/{name}/{ms}", f"/late/{{late}}/{STALL_MS}", 1000)
PEER = Kind("/peer/{n}", "/peer/{n}", 50)
PEER_THREAD = Kind("/peer-thread/{n}", "/peer-thread/{n}", 100)
ITEM = Kind("/items/{item}", "/items/item-{n}", 1)  # all that is no other
SESSIONS = Kind("/echo/{name}", "/echo/{n}", 0, method="WS")
KINDS = (
    Kind("/users/{user}/orders/{order}", "/users/{n}/orders/7", 5),
    Kind("/thread/{n}", "/thread/{n}", 15),
    Kind("/tasks/{n}", "/tasks/{n}", 50),
    Kind("/executor/{n}", "/executor/{n}", 100),
    Kind("/own-thread/{n}", "/own-thread/{n}", 100),
    Kind("/subprocess/{n}", "/subprocess/{n}", 25),
    Kind("/lookup/{n}", "/lookup/{n}", 100),
    Kind("<unmatched>", "/nowhere/{n}", 50, 404),
    Kind("/refused/{n}", "/refused/{n}", 100, 503),
    Kind("/broken/{n}", "/broken/{n}", 500, 500),
    STREAM, SLEEP, STALL, LATE, PEER, PEER_THREAD,
)  # fmt: skip


def parent_of(pid):
    """None: there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


class Load:
    """What is driven; run() until `stop` is set."""

    def __init__(self, service, run, plan):
        self.service, self.run_of_loopscope, self.plan = service, run, plan
        self.stop = asyncio.Event()
        self.numbers = itertools.count(1)
        self.random = random.Random(1)
        self.done, self.early, self.cut = Counter(), Counter(), Counter()
        self.messages = Counter()
        self.observed = {}  # pid: since when
        self.killed = []
        self.wrong = []

    @property
    def requests(self):
        return self.done.total() + self.early.total() + self.cut.total()

    def least(self, kind):
        return self.done[kind.name]

    def most(self, kind):
        return self.done[kind.name] + self.early[kind.name] + self.cut[kind.name]

    def kind(self):
        at = self.random.random()
        for kind in KINDS:
            at -= 1 / kind.one_of
            if at < 0:
                return kind
        return ITEM

    def path(self, kind):
        number = next(self.numbers)
        return kind.path.format(n=number, late=number % LATE_MODULES)

    def certain(self, pid, opened):
        return self.observed.get(pid, float("inf")) < opened

    async def pause(self, seconds):
        """Or less, when it is over."""
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            pass

    async def run(self):
        lanes = [self.lane() for _ in range(self.plan.lanes)]
        looking = asyncio.create_task(self.look_at_processes())
        await asyncio.gather(self.kill(), self.reset(), self.talk(), *lanes)
        looking.cancel()

    # ---- requests ------------------------------------------------------------------

    async def lane(self):
        """Connections, one after the other, at the lane's part of the rate."""
        while not self.stop.is_set():
            connection = harness.Connection(self.service.port)
            try:
                if await self.greet(connection):
                    await self.use(connection)
            finally:
                connection.close()

    async def greet(self, connection):
        """Whose connection it is; False: of nobody whose requests are sure to be seen."""
        opened = time.monotonic()
        try:
            await connection.open()
        except OSError:
            return False
        answer = await self.ask(connection, HELLO, lambda a: self.certain(int(a.body), opened))
        return answer is not None and self.certain(int(answer.body), opened)

    async def use(self, connection):
        interval = self.plan.lanes / self.plan.rate
        due = time.monotonic()
        for _ in range(self.random.randint(1, LONGEST_CONNECTION)):
            due = max(due + interval, time.monotonic() - 1)
            await self.pause(due - time.monotonic())
            if self.stop.is_set() or connection.writer is None:
                return
            kind = self.kind()
            # uvicorn closes a connection after an exception without having said so
            if not await self.ask(connection, kind) or kind.status == 500:
                return

    async def ask(self, connection, kind, certain=lambda answer: True):
        try:
            answer = await connection.request(kind.method, self.path(kind))
        except GONE:
            self.cut[kind.name] += 1
            return None
        (self.done if certain(answer) else self.early)[kind.name] += 1
        if answer.status != kind.status:
            self.wrong.append(f"{kind.name} was answered with {answer.status}")
        return answer

    # ---- clients that leave ----------------------------------------------------------

    async def reset(self):
        """By turns before there is an answer, and in the middle of it."""
        for number in itertools.count():
            await self.pause(self.plan.reset_s)
            if self.stop.is_set():
                return
            connection = harness.Connection(self.service.port)
            try:
                if await self.greet(connection):
                    await self.leave(connection, (SLEEP, STREAM)[number % 2])
            finally:
                connection.close()

    async def leave(self, connection, kind):
        path = "/stream/100000" if kind is STREAM else "/sleep/50"
        begun = False
        try:
            connection.writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            if kind is STREAM:
                await connection.reader.readuntil(b"part 3\n")
                begun = True
        except GONE:
            pass
        (self.done if begun else self.cut)[kind.name] += 1
        leaving = connection.writer.get_extra_info("socket")
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.writer.transport.abort()
        connection.writer = None

    # ---- websockets --------------------------------------------------------------------

    async def talk(self):
        while not self.stop.is_set():
            await asyncio.to_thread(self.session)
            await self.pause(self.plan.session_s)

    def session(self):
        opened, certain, said, heard = time.monotonic(), False, 0, 0
        try:
            with WebSocket(self.service.port, f"/echo/{next(self.numbers)}") as socket:
                certain = self.certain(int(socket.received()), opened)
                heard += 1
                for _ in range(3):
                    socket.message("hello")
                    said += 1
                    assert socket.received() == "hello"
                    heard += 1
                socket.goodbye()
        except (*GONE, AssertionError, TypeError):  # received() has None
            certain = False
        (self.done if certain else self.cut)[SESSIONS.name] += 1
        self.messages["done" if certain else "cut"] += said

    # ---- workers -----------------------------------------------------------------------

    async def look_at_processes(self):
        """Notes which ones are observed, a moment after loopscope says so."""
        with (self.run_of_loopscope.folder / "stderr").open(errors="replace") as stderr:
            rest = ""
            while True:
                *lines, rest = (rest + stderr.read()).split("\n")
                for pid in map(int, re.findall(r"event loop of pid (\d+)", "\n".join(lines))):
                    # a copy of a worker that is about to become another program is none
                    if parent_of(pid) == self.service.pid:
                        self.observed.setdefault(pid, time.monotonic())
                await asyncio.sleep(0.02)

    def living(self):
        return [pid for pid in self.observed if pid not in self.killed]

    async def until_observed(self, count):
        """Also when it is over: a worker that is killed is always replaced by one that is seen."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.living()) < count:
            if time.monotonic() > deadline:
                self.wrong.append(
                    f"{len(self.living())} of {count} workers are observed {START_SECONDS} s "
                    f"after the last one was killed, of {len(self.killed)}"
                )
                self.stop.set()
                return
            await asyncio.sleep(0.02)

    async def kill(self):
        """The oldest worker, by turns with and without a warning; uvicorn starts another."""
        await self.until_observed(self.plan.workers)
        while not self.stop.is_set():
            await self.pause(self.plan.kill_s)
            if self.stop.is_set():
                return
            pid = self.living()[0]
            self.killed.append(pid)
            os.kill(pid, (signal.SIGKILL, signal.SIGTERM)[len(self.killed) % 2])
            await self.until_observed(self.plan.workers)
