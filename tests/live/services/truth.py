# SPDX-License-Identifier: Apache-2.0
"""The services' own log of what they did: one JSON line per occurrence.

``LOOPSCOPE_TRUTH`` names the file; without it nothing is written. A line has

    route, kind       "METHOD /template" or null, and what a finding would be called
    pid, tid          of the thread in which it happened
    file, function, line   the statement after ``begin``
    start_ns, end_ns  CLOCK_MONOTONIC, read right before and after that statement
    run_delay_ns      time that the thread meanwhile waited for a CPU
    cpu_ns            CPU time of the thread meanwhile
    and what the caller adds

so ``end_ns - start_ns - run_delay_ns`` is the length of the block itself.
"""

import json
import os
import sys
import threading
import time

_path = os.environ.get("LOOPSCOPE_TRUTH")
_log = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC) if _path else -1
_thread = threading.local()
_pid = os.getpid()
AT_ONCE_NS = 100_000


def forked():
    """Call it in a child: what it writes is its own."""
    global _pid
    _pid = os.getpid()
    _thread.__dict__.clear()


def run_delay_ns():
    """Time that this thread has been runnable without a CPU."""
    try:
        schedstat = _thread.schedstat
    except AttributeError:
        schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        _thread.schedstat = schedstat
    return int(os.pread(schedstat, 64, 0).split()[1])


def clocks():
    """Run delay, CPU time and the clock, of one moment.

    Were the thread to wait for a CPU between them, the wait would count twice.
    """
    for _ in range(3):
        before = time.monotonic_ns()
        delay = run_delay_ns()
        cpu = time.thread_time_ns()
        now = time.monotonic_ns()
        if now - before < AT_ONCE_NS:
            break
    return delay, cpu, now


def begin(route, kind):
    """Call it on the line above the statement that is meant."""
    frame = sys._getframe(1)
    delay, cpu, start = clocks()
    return (route, kind, frame, frame.f_lineno + 1, delay, cpu, start)


def end(mark, **more):
    """Call it on the line below; returns the length in ns, less the run-queue delay."""
    now = time.monotonic_ns()
    cpu = time.thread_time_ns()
    delay, cpu_after, after = clocks()
    route, kind, frame, line, delay_before, cpu_before, start = mark
    # What was no CPU time since the end was a wait for one, and not the block's.
    outside = after - now - (cpu_after - cpu)
    if outside > AT_ONCE_NS:
        delay = max(delay - outside, delay_before)
    write(
        route=route,
        kind=kind,
        file=frame.f_code.co_filename,
        function=frame.f_code.co_name,
        line=line,
        start_ns=start,
        end_ns=now,
        run_delay_ns=delay - delay_before,
        cpu_ns=cpu - cpu_before,
        **more,
    )
    return now - start - (delay - delay_before)


def write(**line):
    if _log >= 0:
        line |= {"pid": _pid, "tid": threading.get_native_id()}
        os.write(_log, json.dumps(line).encode() + b"\n")
