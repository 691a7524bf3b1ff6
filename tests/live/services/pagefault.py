# SPDX-License-Identifier: Apache-2.0
"""Reads a mapped file that is not in memory: on the loop, and in a thread.

``LOOPSCOPE_FOLDER`` must be on a disk: what lies in memory has no such faults.
The reader releases the GIL, so that only the loop's own faults hold the loop.
"""

import asyncio
import mmap
import os
import resource
import tempfile
import zlib

import truth
from fastapi import FastAPI

FILE_BYTES = 32 << 20


def mapped_file():
    with tempfile.TemporaryFile(dir=os.environ["LOOPSCOPE_FOLDER"]) as file:
        for _ in range(FILE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        mapping = mmap.mmap(file.fileno(), FILE_BYTES, prot=mmap.PROT_READ)
        return os.dup(file.fileno()), mapping


descriptor, mapping = mapped_file()
view = memoryview(mapping)
app = FastAPI(openapi_url=None)


def forget():
    """Unmapped pages leave the cache; read at random they come back one by one."""
    mapping.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    mapping.madvise(mmap.MADV_RANDOM)


def major_faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt


def checksum(pages):
    faults = major_faults()
    mark = truth.begin("GET /fault-thread/{pages}", "healthy")
    zlib.crc32(view[: pages * mmap.PAGESIZE])
    truth.end(mark, major_faults=major_faults() - faults)


@app.get("/ping")
async def ping():
    return {}


@app.get("/fault/{pages}")
async def fault(pages: int):
    await asyncio.to_thread(forget)
    faults = major_faults()
    mark = truth.begin("GET /fault/{pages}", "page_fault")
    zlib.crc32(view[: pages * mmap.PAGESIZE])
    return truth.end(mark, major_faults=major_faults() - faults)


@app.get("/fault-thread/{pages}")
async def fault_thread(pages: int):
    await asyncio.to_thread(forget)
    await asyncio.to_thread(checksum, pages)
