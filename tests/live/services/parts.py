# SPDX-License-Identifier: Apache-2.0
"""Steps of a loop that last for one reason each; what stands in the log is the reason."""

import asyncio
import ctypes
import mmap
import os
import tempfile
import threading
import time
import zlib

import truth
from fastapi import FastAPI

FILE_BYTES = 32 << 20

app = FastAPI(openapi_url=None)
with tempfile.TemporaryFile(dir=os.environ["LOOPSCOPE_FOLDER"]) as file:
    for _ in range(FILE_BYTES >> 20):
        file.write(os.urandom(1 << 20))
    file.flush()
    os.fsync(file.fileno())
    mapping = mmap.mmap(file.fileno(), FILE_BYTES, prot=mmap.PROT_READ)
    descriptor = os.dup(file.fileno())


def burn(ms):
    """That much time on a CPU; the kernel is asked for it about once in a millisecond."""
    end = time.thread_time_ns() + ms * 1e6
    while time.thread_time_ns() < end:
        for _ in range(50):
            sum(range(1000))


def forget():
    mapping.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@app.get("/ping")
async def ping():
    return {}


@app.get("/sleep/{ms}")
async def sleep(ms: float):
    truth.write(route="GET /sleep/{ms}", kind="begun")
    time.sleep(ms / 1e3)


@app.get("/burn/{ms}")
async def burn_on_loop(ms: float):
    truth.write(route="GET /burn/{ms}", kind="begun")
    burn(ms)


@app.get("/kernel/{times}")
async def kernel(times: int):
    """Work of the kernel for this thread, in calls that do not sleep."""
    zeros = os.open("/dev/zero", os.O_RDONLY)
    for _ in range(times):
        os.read(zeros, 1 << 20)
    os.close(zeros)


@app.get("/fault/{pages}")
async def fault(pages: int):
    await asyncio.to_thread(forget)
    zlib.crc32(memoryview(mapping)[: pages * mmap.PAGESIZE])


@app.get("/gil/{ms}")
async def gil(ms: float):
    """The loop gives the GIL away for a moment, to a thread that keeps it."""
    wanted = threading.Event()

    def keep():
        wanted.wait()
        ctypes.PyDLL(None).usleep(int(ms * 1e3))  # the GIL is kept

    thread = threading.Thread(target=keep)
    thread.start()
    wanted.set()
    deadline = time.monotonic() + ms / 1e3
    while time.monotonic() < deadline:
        burn(1)
    thread.join()


@app.get("/mixed/{ms}")
async def mixed(ms: float):
    """A bit of each: sleep, work, sleep in small pieces."""
    truth.write(route="GET /mixed/{ms}", kind="begun")
    mark = truth.begin("GET /mixed/{ms}", "blocking_call")
    for _ in range(10):
        time.sleep(ms / 4e4)
        burn(ms / 40)
        time.sleep(0.0002)
    truth.end(mark)
