# SPDX-License-Identifier: Apache-2.0
"""Reads memory that is not there: on the loop, and in a thread.

A mapped file, one page after the other from the disk: ``LOOPSCOPE_FOLDER`` must
be on one, what lies in memory has no such faults. And memory whose pages a thread
of this process hands in, which takes the time and the number of faults that a
request asks for: a slow disk made to measure.
The reader releases the GIL, so that only the loop's own faults hold the loop.
"""

import asyncio
import ctypes
import mmap
import os
import resource
import struct
import tempfile
import threading
import time
import zlib
from fcntl import ioctl

import truth
from fastapi import FastAPI

FILE_BYTES = 32 << 20
SERVED_PAGES = 256

# <linux/userfaultfd.h>
SYS_USERFAULTFD = 323
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_ZEROPAGE = 0xC018AA3F, 0xC020AA00, 0xC020AA04
UFFD_API, UFFDIO_REGISTER_MODE_MISSING = 0xAA, 1
MESSAGE_BYTES, ADDRESS_AT = 32, 16


def mapped_file():
    with tempfile.TemporaryFile(dir=os.environ["LOOPSCOPE_FOLDER"]) as file:
        for _ in range(FILE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        mapping = mmap.mmap(file.fileno(), FILE_BYTES, prot=mmap.PROT_READ)
        return os.dup(file.fileno()), mapping


def served_memory():
    """Memory whose faults are told to a descriptor."""
    mapping = mmap.mmap(-1, SERVED_PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    mapping.madvise(mmap.MADV_NOHUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    faults = ctypes.CDLL(None, use_errno=True).syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
    if faults < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    ioctl(faults, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0))
    area = struct.pack("QQQQ", address, len(mapping), UFFDIO_REGISTER_MODE_MISSING, 0)
    ioctl(faults, UFFDIO_REGISTER, area)
    return mapping, faults


def serve(faults):
    """Hands in each page after the time that a page takes."""
    while message := os.read(faults, MESSAGE_BYTES):
        time.sleep(page_ms / 1e3)
        (address,) = struct.unpack_from("Q", message, ADDRESS_AT)
        page = address & -mmap.PAGESIZE
        ioctl(faults, UFFDIO_ZEROPAGE, struct.pack("QQQq", page, mmap.PAGESIZE, 0, 0))


descriptor, mapping = mapped_file()
view = memoryview(mapping)
served, served_faults = served_memory()
page_ms = 0.0
threading.Thread(target=serve, args=(served_faults,), daemon=True).start()
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


@app.get("/served/{pages}/{ms}")
async def served_fault(pages: int, ms: float):
    global page_ms
    page_ms = ms
    served.madvise(mmap.MADV_DONTNEED)
    part = memoryview(served)[: pages * mmap.PAGESIZE]
    mark = truth.begin("GET /served/{pages}/{ms}", "page_fault")
    zlib.crc32(part)
    return truth.end(mark, faults=pages)
