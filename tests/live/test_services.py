# SPDX-License-Identifier: Apache-2.0
"""The services do what they say: each fault happens, and its twin hurts nobody.

loopscope has no part in it: what its findings are compared with must be true.
"""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import (
    Connection,
    Service,
    cpu_hogs,
    drive,
    get,
    length_ms,
    loading,
    stolen_ms,
    thread_stat,
    wait_until,
)
from services.routes20 import ROUTES

PING_PAUSE_S = 0.005
#: What a healthy loop may be late on a busy machine.
SLACK_MS = 25


@dataclass
class Pings:
    """When each of the pings during a request was sent and answered, in ns."""

    times: list
    kept_ms: float

    @property
    def late_ms(self):
        """Of the one that took longest: what the machine's being busy does not explain."""
        return max(answered - sent for sent, answered in self.times) / 1e6 - self.kept_ms

    def held(self, start_ns, end_ns):
        """Whether the loop was: some waited for its end, and none was answered before."""
        during = [end for sent, end in self.times if start_ns <= sent < end_ns]
        around = [end for sent, end in self.times if sent < start_ns and end >= end_ns]
        return bool(during + around) and all(end >= end_ns for end in during)


def kept_ms(service):
    """Time that the loop and this thread, their pings' sender, were kept from a CPU so far.

    Nothing that holds the loop adds to it.
    """
    threads = (f"/proc/{service.pid}/task/{service.pid}", "/proc/thread-self")
    delays = [int(Path(thread, "schedstat").read_text().split()[1]) for thread in threads]
    return sum(delays) / 1e6 + stolen_ms()


async def _pinged(service, path):
    """Send a request, and meanwhile /ping: its answer, and the times of the pings."""
    pings, request = Connection(service.port), Connection(service.port)
    await pings.request("GET", "/ping")
    running = asyncio.create_task(request.request("GET", path))
    times = []
    while not running.done():
        sent = time.monotonic_ns()
        await pings.request("GET", "/ping")
        times.append((sent, time.monotonic_ns()))
        await asyncio.sleep(PING_PAUSE_S)
    pings.close()
    request.close()
    return await running, times


def pinged(service, path):
    before = kept_ms(service)
    answer, times = asyncio.run(_pinged(service, path))
    assert answer.status == 200, service.output
    return Pings(times, kept_ms(service) - before)


#: route, path, kind, path of the twin, for how long the loop is held (ms): of what another
#: thread does meanwhile, some is over by then.
STALLS = [
    ("GET /sleep/{ms}", "/sleep/120", "blocking_call", "/sleep-async/120", 120),
    ("GET /sleep/{ms}", "/sleep/120", "blocking_call", "/sleep-thread/120", 120),
    ("GET /sleep/{ms}", "/sleep/120", "blocking_call", "/sleep-def/120", 120),
    ("GET /burn/{ms}", "/burn/120", "cpu_stall", "/burn-sliced/120", 120),
    ("GET /compress/{times}", "/compress/6", "cpu_stall", "/compress-thread/6", 60),
    ("GET /collect", "/collect", "gc_pause", "/collect-young", 30),
    ("GET /lock/{ms}", "/lock/120", "lock_wait", "/lock-thread/120", 100),
    ("GET /connect/{ms}", "/connect/120", "blocking_call", None, 100),
    ("GET /recv/{ms}", "/recv/120", "blocking_call", "/recv-async/120", 100),
    ("GET /recv-timeout/{ms}", "/recv-timeout/120", "blocking_call", "/recv-async/120", 100),
    ("GET /epoll/{ms}", "/epoll/120", "blocking_call", "/epoll-thread/120", 120),
    (
        "GET /epoll-sliced/{slices}/{ms}",
        "/epoll-sliced/6/20",
        "blocking_call",
        "/epoll-thread/120",
        120,
    ),
    (
        "GET /subprocess/{ms}",
        "/subprocess/120",
        "blocking_call",
        "/subprocess-async/120",
        120,
    ),
    ("GET /fifo/{ms}", "/fifo/120", "blocking_call", "/fifo-thread/120", 100),
]


@pytest.fixture
def stalls(loop):
    with Service("stalls:app", loop=loop) as service:
        yield service


def test_each_stall_holds_the_loop_and_its_twin_does_not(stalls):
    for route, path, kind, twin, least_ms in STALLS:
        pings = pinged(stalls, path)
        lines = stalls.truth(kind, route)
        assert lines, path
        line = lines[-1]
        assert line["tid"] == stalls.pid, path
        assert pings.held(line["start_ns"], line["end_ns"]), path
        if kind == "cpu_stall":
            # A hypervisor takes time from its length only.
            assert line["cpu_ns"] / 1e6 >= 0.9 * least_ms, path
        elif kind == "gc_pause":
            assert length_ms(line) >= least_ms - 1, path
        else:
            # Others go on while it waits for a CPU, which is no part of its length.
            wall = (line["end_ns"] - line["start_ns"]) / 1e6
            assert wall >= least_ms - 1, path
            assert line["cpu_ns"] / 1e6 <= 0.2 * wall, path
        if twin is not None:
            before = len(stalls.truth())
            assert pinged(stalls, twin).late_ms <= max(SLACK_MS, least_ms / 4), twin
            assert len(stalls.truth()) == before, twin


def test_parts_of_a_request_add_up(stalls):
    get(stalls, "/sleep-parts/8/5")
    lines = stalls.truth("blocking_call", "GET /sleep-parts/{count}/{ms}")
    assert len(lines) == 8
    assert sum(map(length_ms, lines)) >= 40


def test_the_log_pipe_holds_the_loop(stalls):
    pings = pinged(stalls, "/log/20")
    lines = stalls.truth("log_backpressure")
    assert len(lines) == 20
    # The pipe takes the first four lines; the others wait for the reader, whose pace it is
    # whoever else has the CPU.
    began, ended = lines[0]["start_ns"], lines[-1]["end_ns"]
    assert ended - began >= 120e6
    assert pings.held(began, ended)
    assert pinged(stalls, "/log-queued/20").late_ms <= SLACK_MS
    assert len(stalls.truth("log_backpressure")) == 20


def test_a_vfork_is_among_the_subprocess_calls(stalls):
    get(stalls, "/subprocess/20")
    assert stalls.truth("blocking_call", "GET /subprocess/{ms}")[-1]["vfork"] is True


def test_work_of_no_request(stalls):
    get(stalls, "/spawn/60")
    answered = time.monotonic_ns()
    (line,) = wait_until(lambda: stalls.truth("blocking_call"), 5, "its work")
    assert answered < line["end_ns"]
    assert line["route"] is None
    assert length_ms(line) >= 60


def lateness_ms(service, route):
    (line,) = service.truth("lag", route)
    return [late / 1e6 for late in line["late_ns"]]


def test_threads_keep_the_gil_from_the_loop(stalls):
    get(stalls, "/gil/300")
    late = lateness_ms(stalls, "GET /gil/{ms}")
    (burnt,) = stalls.truth("gil_contention", "GET /gil/{ms}")
    assert burnt["tid"] != stalls.pid
    assert burnt["cpu_ns"] >= 300e6
    # Each step waits a switch interval: 5 ms.
    assert sum(ms > 3 for ms in late) >= 20
    assert sum(late) >= 0.5 * length_ms(burnt)

    get(stalls, "/gil-kept/120")
    (kept,) = stalls.truth("gil_contention", "GET /gil-kept/{ms}")
    assert max(lateness_ms(stalls, "GET /gil-kept/{ms}")) >= 0.7 * length_ms(kept)

    get(stalls, "/gil-released/6")
    late = lateness_ms(stalls, "GET /gil-released/{times}")
    assert sum(ms > 3 for ms in late) < len(late) / 4


def test_small_callbacks_fill_the_loop(loop):
    with Service("saturated:app", loop=loop) as service:
        pings = pinged(service, "/burst/5000/2")
        bursts = service.truth("loop_saturated")
        assert len(bursts) == 2
        for line in bursts:
            assert line["callbacks"] == 5000
            length = (line["end_ns"] - line["start_ns"]) / 1e6
            assert length >= 25
            assert line["longest_ns"] / 1e6 < 20 + pings.kept_ms
            assert pings.held(line["start_ns"], line["end_ns"])
        assert pinged(service, "/spread/5000/1").late_ms <= SLACK_MS
        (spread,) = service.truth("healthy")
        assert spread["callbacks"] == 5000
        assert get(service, "/ping").status == 200


def test_pages_come_from_the_disk(loop):
    with Service("pagefault:app", loop=loop) as service:
        before = thread_stat(service.pid, "majflt")
        pings = pinged(service, "/fault/2000")
        (line,) = service.truth("page_fault")
        assert line["tid"] == service.pid
        assert line["major_faults"] >= 100
        assert thread_stat(service.pid, "majflt") - before >= line["major_faults"]
        length = length_ms(line)
        assert length >= 20
        # Off the CPU, and held in one piece.
        assert length - line["cpu_ns"] / 1e6 >= 10
        assert pings.held(line["start_ns"], line["end_ns"])

        before = thread_stat(service.pid, "majflt")
        pings = pinged(service, "/fault-thread/2000")
        (line,) = service.truth("healthy")
        assert line["tid"] != service.pid
        assert line["major_faults"] >= 100
        assert thread_stat(service.pid, "majflt") - before <= 5
        assert pings.late_ms <= max(SLACK_MS, length / 4)


def test_hogs_take_the_cpu(loop):
    with Service("starved:app", loop=loop, cpu=0) as service:
        drive(service, ["/spin/5"] * 20, concurrency=1)
        alone = service.truth("cpu_starvation")
        with cpu_hogs(0, 3):
            time.sleep(0.3)
            drive(service, ["/spin/5"] * 20, concurrency=1)
        starved = service.truth("cpu_starvation")[len(alone) :]
    assert len(starved) == len(alone) == 20
    assert sum(line["run_delay_ns"] for line in starved) >= 40e6
    # Its own work has not become more.
    assert max(line["cpu_ns"] for line in starved) < 30e6


def test_every_response_tells_its_route(loop):
    with Service("routes20:app", loop=loop) as service:
        requests = [
            (method, path.replace("{n}", str(number)))
            for number in range(1, 26)
            for method, path, _ in ROUTES
        ]
        answers = drive(service, requests, concurrency=4)
        told = Counter(answer.headers["x-route"] for answer in answers)
        assert told == {route: 25 for _, _, route in ROUTES}
        assert len(told) == 20
        assert get(service, "/truth").json() == dict(told)


def test_load_runs_beside_the_test(stalls):
    with loading(stalls, itertools.repeat("/ping"), concurrency=2, interval_s=0.01) as load:
        get(stalls, "/sleep/50")
        time.sleep(0.3)
    assert len(load.answers) > 2
    assert all(answer.status == 200 for answer in load.answers)


def test_every_interpreter_runs_the_services(interpreter, loop):
    with Service("stalls:app", loop=loop, interpreter=interpreter) as service:
        pings = pinged(service, "/sleep/60")
        (line,) = service.truth("blocking_call")
        assert pings.held(line["start_ns"], line["end_ns"])
        assert line["pid"] == service.pid
        assert line["file"] == f"{service.sources}/stalls.py"
        assert length_ms(line) >= 60
