# SPDX-License-Identifier: Apache-2.0
"""One route per way to hold an event loop, each with a healthy twin; see truth.py.

Garbage is collected only where a route says so: everything that this service
does to its loop stands in its log.
"""

import asyncio
import gc
import logging
import logging.handlers
import mmap
import os
import queue
import select
import socket
import subprocess
import tempfile
import threading
import time
import zlib
from contextlib import asynccontextmanager
from fcntl import F_SETPIPE_SZ, fcntl

import truth
from fastapi import FastAPI

HEAP_OBJECTS = int(os.environ.get("LOOPSCOPE_HEAP", "400000"))
LOG_PIPE_BYTES = mmap.PAGESIZE
LOG_LINE_BYTES = 1000
LOG_PERIOD_S = 0.010
COMPRESSIBLE = bytes(range(256)) * 40960

folder = os.environ.get("LOOPSCOPE_FOLDER") or tempfile.mkdtemp(prefix="stalls-")
gate = threading.Lock()
heap = []


# ---- helpers in threads of their own --------------------------------------------


def burn(ms):
    """Python code for that long, in CPU time of this thread."""
    until = time.thread_time_ns() + int(ms * 1e6)
    rounds = 0
    while time.thread_time_ns() < until:
        rounds += 1
    return rounds


def burn_in_one_call(ms):
    """One call into C that keeps the GIL for about that long."""
    return sum(range(int(ms * per_ms)))


def calibrate():
    began = time.thread_time_ns()
    sum(range(2_000_000))
    return 2_000_000 * 1e6 / (time.thread_time_ns() - began)


def answer(connection):
    """A peer: gets milliseconds, answers after them."""
    with connection:
        while line := connection.recv(64):
            time.sleep(float(line) / 1e3)
            connection.sendall(b"done\n")


def serve_peer(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def drain_log(pipe):
    while os.read(pipe, LOG_LINE_BYTES):
        time.sleep(LOG_PERIOD_S)


def slow_handler():
    """Logs to a small pipe that is read slowly."""
    read_end, write_end = os.pipe()
    fcntl(write_end, F_SETPIPE_SZ, LOG_PIPE_BYTES)
    in_thread(drain_log, read_end)
    return logging.StreamHandler(open(write_end, "w", buffering=1))


def hold_gate(ms, loop, taken):
    with gate:
        loop.call_soon_threadsafe(taken.set)
        time.sleep(ms / 1e3)


def write_fifo(path, ms):
    time.sleep(ms / 1e3)
    with open(path, "wb") as fifo:
        fifo.write(b"done\n")


def accept_late(listener, ms):
    time.sleep(ms / 1e3)
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


def full_listener(address, family):
    """A listener whose queue is full, and the connections that fill it."""
    listener = socket.socket(family)
    listener.bind(address)
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket(family)
        client.settimeout(0.05)
        waiting.append(client)
        try:
            client.connect(listener.getsockname())
        except OSError:
            return listener, waiting


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


# ---- the application ------------------------------------------------------------


@asynccontextmanager
async def lifespan(app):
    app.state.peer = socket.create_server(("127.0.0.1", 0))
    in_thread(serve_peer, app.state.peer)
    yield
    app.state.peer.close()


app = FastAPI(lifespan=lifespan, openapi_url=None)
per_ms = calibrate()
heap.extend({"next": [number]} for number in range(HEAP_OBJECTS // 2))
gc.disable()

slow_log = logging.getLogger("stalls.slow")
slow_log.propagate = False
slow_log.addHandler(slow_handler())
log_queue = queue.SimpleQueue()
queued_log = logging.getLogger("stalls.queued")
queued_log.propagate = False
queued_log.addHandler(logging.handlers.QueueHandler(log_queue))
logging.handlers.QueueListener(log_queue, slow_handler()).start()


@app.get("/ping")
async def ping():
    return {}


@app.get("/sleep/{ms}")
async def sleep(ms: float):
    mark = truth.begin("GET /sleep/{ms}", "blocking_call")
    time.sleep(ms / 1e3)
    return truth.end(mark)


@app.get("/sleep-async/{ms}")
async def sleep_async(ms: float):
    await asyncio.sleep(ms / 1e3)


@app.get("/sleep-thread/{ms}")
async def sleep_thread(ms: float):
    await asyncio.to_thread(time.sleep, ms / 1e3)


@app.get("/sleep-def/{ms}")
def sleep_def(ms: float):
    time.sleep(ms / 1e3)


@app.get("/sleep-parts/{count}/{ms}")
async def sleep_parts(count: int, ms: float):
    """Several short blocks in one request: one occurrence, their sum."""
    for _ in range(count):
        mark = truth.begin("GET /sleep-parts/{count}/{ms}", "blocking_call")
        time.sleep(ms / 1e3)
        truth.end(mark, parts=count)
        await asyncio.sleep(0.002)


@app.get("/sleep-often/{count}/{us}")
async def sleep_often(count: int, us: float):
    """Blocks that are short each, one after the other on the loop."""
    mark = truth.begin("GET /sleep-often/{count}/{us}", "blocking_call")
    sleeps(count, us)
    return truth.end(mark)


def sleeps(count, us):
    for _ in range(count):
        time.sleep(us / 1e6)


@app.get("/burn/{ms}")
async def burn_on_loop(ms: float):
    mark = truth.begin("GET /burn/{ms}", "cpu_stall")
    burn(ms)
    return truth.end(mark)


@app.get("/burn-sliced/{ms}")
async def burn_sliced(ms: float):
    for _ in range(int(ms)):
        burn(1)
        await asyncio.sleep(0)


@app.get("/compress/{times}")
async def compress(times: int):
    """A C extension holds the CPU."""
    mark = truth.begin("GET /compress/{times}", "cpu_stall")
    [zlib.compress(COMPRESSIBLE, 6) for _ in range(times)]
    return truth.end(mark)


@app.get("/compress-thread/{times}")
async def compress_thread(times: int):
    for _ in range(times):
        await asyncio.to_thread(zlib.compress, COMPRESSIBLE, 6)


@app.get("/collect")
async def collect():
    mark = truth.begin("GET /collect", "gc_pause")
    gc.collect()
    return truth.end(mark)


@app.get("/collect-young")
async def collect_young():
    gc.collect(0)


@app.get("/lock/{ms}")
async def lock(ms: float):
    taken = asyncio.Event()
    in_thread(hold_gate, ms, asyncio.get_running_loop(), taken)
    await taken.wait()
    mark = truth.begin("GET /lock/{ms}", "lock_wait")
    gate.acquire()
    truth.end(mark)
    gate.release()


@app.get("/lock-thread/{ms}")
async def lock_thread(ms: float):
    taken = asyncio.Event()
    in_thread(hold_gate, ms, asyncio.get_running_loop(), taken)
    await taken.wait()
    await asyncio.to_thread(gate.acquire)
    gate.release()


@app.get("/log/{lines}")
async def log(lines: int):
    text = "x" * (LOG_LINE_BYTES - 1)
    for _ in range(lines):
        mark = truth.begin("GET /log/{lines}", "log_backpressure")
        slow_log.warning(text)
        truth.end(mark, parts=lines)


@app.get("/log-queued/{lines}")
async def log_queued(lines: int):
    text = "x" * (LOG_LINE_BYTES - 1)
    for _ in range(lines):
        queued_log.warning(text)


@app.get("/connect/{ms}")
async def connect(ms: float):
    """To a Unix socket whose queue is full until somebody accepts."""
    path = f"{folder}/full-{time.monotonic_ns()}"
    listener, waiting = full_listener(path, socket.AF_UNIX)
    in_thread(accept_late, listener, ms)
    client = socket.socket(socket.AF_UNIX)
    mark = truth.begin("GET /connect/{ms}", "blocking_call")
    client.connect(path)
    truth.end(mark, peer=f"unix:{path}")
    for connection in (client, *waiting, listener):
        connection.close()
    os.unlink(path)


@app.get("/recv/{ms}")
async def receive(ms: float):
    with socket.create_connection(app.state.peer.getsockname()) as connection:
        connection.sendall(b"%.3f\n" % ms)
        mark = truth.begin("GET /recv/{ms}", "blocking_call")
        connection.recv(64)
        truth.end(mark, peer="%s:%d" % connection.getpeername())


@app.get("/recv-timeout/{ms}")
async def receive_with_timeout(ms: float):
    """With a timeout the descriptor is non-blocking: the wait is a poll."""
    with socket.create_connection(app.state.peer.getsockname(), 30) as connection:
        connection.sendall(b"%.3f\n" % ms)
        mark = truth.begin("GET /recv-timeout/{ms}", "blocking_call")
        connection.recv(64)
        truth.end(mark, peer="%s:%d" % connection.getpeername())


@app.get("/recv-async/{ms}")
async def receive_async(ms: float):
    reader, writer = await asyncio.open_connection(*app.state.peer.getsockname())
    writer.write(b"%.3f\n" % ms)
    await reader.readline()
    writer.close()


@app.get("/epoll/{ms}")
async def private_epoll(ms: float):
    """An epoll set that is not the loop's own."""
    with select.epoll() as own:
        mark = truth.begin("GET /epoll/{ms}", "blocking_call")
        own.poll(ms / 1e3)
        truth.end(mark)


@app.get("/epoll-sliced/{slices}/{ms}")
async def sliced_epoll(slices: int, ms: float):
    """The way some drivers wait: in slices, which are one call."""
    with select.epoll() as own:
        mark = truth.begin("GET /epoll-sliced/{slices}/{ms}", "blocking_call")
        [own.poll(ms / 1e3) for _ in range(slices)]
        truth.end(mark)


@app.get("/epoll-thread/{ms}")
async def epoll_thread(ms: float):
    with select.epoll() as own:
        await asyncio.to_thread(own.poll, ms / 1e3)


@app.get("/subprocess/{ms}")
async def run_subprocess(ms: float):
    mark = truth.begin("GET /subprocess/{ms}", "blocking_call")
    subprocess.run(["sleep", f"{ms / 1e3}"])
    truth.end(mark, vfork=getattr(subprocess, "_USE_VFORK", None))


@app.get("/subprocess-async/{ms}")
async def run_subprocess_async(ms: float):
    process = await asyncio.create_subprocess_exec("sleep", f"{ms / 1e3}")
    await process.wait()


@app.get("/fifo/{ms}")
async def read_fifo(ms: float):
    path = f"{folder}/fifo-{time.monotonic_ns()}"
    os.mkfifo(path)
    in_thread(write_fifo, path, ms)
    mark = truth.begin("GET /fifo/{ms}", "blocking_call")
    open(path, "rb").close()
    truth.end(mark, path=path)
    os.unlink(path)


@app.get("/fifo-thread/{ms}")
async def read_fifo_thread(ms: float):
    path = f"{folder}/fifo-{time.monotonic_ns()}"
    os.mkfifo(path)
    in_thread(write_fifo, path, ms)
    (await asyncio.to_thread(open, path, "rb")).close()
    os.unlink(path)


async def tick(thread, route):
    """Let the loop want to run every millisecond; log how late it came to.

    Nothing between two clocks gives the GIL away but the loop itself. What it
    waited for a CPU is no lateness: that is the machine's.
    """
    late, since = [], []
    delay, _, began = truth.clocks()
    while thread.is_alive():
        await asyncio.sleep(0.001)
        delay_now, _, now = truth.clocks()
        late.append(now - began - 1_000_000 - (delay_now - delay))
        since.append(began)
        delay, began = delay_now, now
    truth.write(route=route, kind="lag", late_ns=late, began_ns=since)


def burn_and_log(route, ms, how):
    time.sleep(0.010)  # the loop is to be at its ticks by then
    mark = truth.begin(route, "gil_contention")
    how(ms)
    truth.end(mark)


@app.get("/gil/{ms}")
async def gil(ms: float):
    """A thread of Python code: each step of the loop waits a switch interval."""
    await tick(in_thread(burn_and_log, "GET /gil/{ms}", ms, burn), "GET /gil/{ms}")


@app.get("/gil-kept/{ms}")
async def gil_kept(ms: float):
    """A thread in one call that never gives the GIL away: one long wait."""
    route = "GET /gil-kept/{ms}"
    await tick(in_thread(burn_and_log, route, ms, burn_in_one_call), route)


@app.get("/gil-released/{times}")
async def gil_released(times: int):
    """As much CPU in a thread, by code that releases the GIL."""
    thread = in_thread(lambda: [zlib.compress(COMPRESSIBLE, 6) for _ in range(times)])
    await tick(thread, "GET /gil-released/{times}")


async def sweep(ms):
    mark = truth.begin(None, "blocking_call")
    time.sleep(ms / 1e3)
    truth.end(mark, task="sweeper")


@app.get("/spawn/{ms}")
async def spawn(ms: float):
    """Blocks in a task that belongs to no request."""
    app.state.sweeper = asyncio.create_task(later(sweep, ms), name="sweeper")


async def later(function, *arguments):
    await asyncio.sleep(0.05)
    await function(*arguments)
