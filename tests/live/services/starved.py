# SPDX-License-Identifier: Apache-2.0
"""A healthy service to be starved of its CPU; run as a script, what starves it.

    python starved.py CPU COUNT

keeps COUNT processes busy on that CPU until it ends or its parent does.
"""

import ctypes
import os
import signal
import sys
import time


def work(ms=2):
    """A little Python code, as a healthy route runs it."""
    until = time.thread_time_ns() + int(ms * 1e6)
    while time.thread_time_ns() < until:
        pass


def hog(cpu, count):
    os.sched_setaffinity(0, {cpu})
    for _ in range(count - 1):
        if os.fork() == 0:
            break
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    while True:
        pass


def application():
    import truth
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)

    @app.get("/ping")
    async def ping():
        return {}

    @app.get("/spin/{ms}")
    async def spin(ms: float):
        mark = truth.begin("GET /spin/{ms}", "cpu_starvation")
        work(ms)
        return truth.end(mark)

    return app


if __name__ == "__main__":
    hog(int(sys.argv[1]), int(sys.argv[2]))
app = application()
