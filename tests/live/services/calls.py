# SPDX-License-Identifier: Apache-2.0
"""Calls that are easily told wrongly; each route answers how long it blocked, in ms."""

import asyncio
import ctypes
import errno
import os
import subprocess
import threading
import time

from fastapi import FastAPI

SYS_IO_URING_SETUP = 425
SYS_IO_URING_ENTER = 426
IO_URING_PARAMS_BYTES = 120
IORING_ENTER_GETEVENTS = 1
IORING_ENTER_EXT_ARG = 8
NOWHERE = os.pathsep.join(f"/nowhere/{number}" for number in range(20_000))

app = FastAPI()
libc = ctypes.CDLL(None, use_errno=True)
libc_with_gil = ctypes.PyDLL(None)


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64)]


class GetEvents(ctypes.Structure):
    """struct io_uring_getevents_arg"""

    _fields_ = [
        ("sigmask", ctypes.c_uint64),
        ("sigmask_size", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("timespec", ctypes.c_uint64),
    ]


def timed(work, *arguments):
    began = time.monotonic_ns()
    work(*arguments)
    return {"pid": os.getpid(), "ms": (time.monotonic_ns() - began) / 1e6}


@app.get("/ping")
async def ping():
    return "pong"


@app.get("/sleep/{ms}")
async def sleep(ms: int):
    return timed(time.sleep, ms / 1e3)


def descend(depth, ms):
    if depth:
        descend(depth - 1, ms)
    else:
        time.sleep(ms / 1e3)


@app.get("/deep/{depth}/{ms}")
async def deep(depth: int, ms: int):
    return timed(descend, depth, ms)


def start_nothing():
    """The child looks for its program in many folders, and vfork waits for it."""
    try:
        subprocess.Popen(["loopscope-nowhere"], env={"PATH": NOWHERE})
    except FileNotFoundError:
        pass


@app.get("/vfork")
async def vfork():
    return timed(start_nothing)


def new_ring():
    parameters = (ctypes.c_char * IO_URING_PARAMS_BYTES)()
    ring = libc.syscall(SYS_IO_URING_SETUP, 1, ctypes.byref(parameters))
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    return ring


def wait_for_ring(ring, ms):
    length = Timespec(0, ms * 1_000_000)
    argument = GetEvents(timespec=ctypes.addressof(length))
    flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG
    size = ctypes.c_size_t(ctypes.sizeof(argument))
    status = libc.syscall(SYS_IO_URING_ENTER, ring, 0, 1, flags, ctypes.byref(argument), size)
    assert status == -1 and ctypes.get_errno() == errno.ETIME, ctypes.get_errno()


@app.get("/io-uring/{ms}")
async def io_uring(ms: int):
    ring = new_ring()
    try:
        return timed(wait_for_ring, ring, ms)
    finally:
        os.close(ring)


def sleep_with_gil(times, ms, loop):
    for _ in range(times):
        libc_with_gil.usleep(ms * 1000)
        # Each is a wait of its own once the loop has had its turn in between.
        turn = threading.Event()
        loop.call_soon_threadsafe(turn.set)
        turn.wait()
        time.sleep(0.005)


@app.get("/keep-gil/{times}/{ms}")
async def keep_gil(times: int, ms: int):
    """A thread that has the GIL and no CPU."""
    loop = asyncio.get_running_loop()
    threading.Thread(target=sleep_with_gil, args=(times, ms, loop)).start()
    return "started"
