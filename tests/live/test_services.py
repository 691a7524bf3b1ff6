# SPDX-License-Identifier: Apache-2.0
"""The services do what they say: each fault happens, and its twin hurts nobody.

loopscope has no part in it: what its findings are compared with must be true.
"""

import asyncio
import itertools
import time
from collections import Counter

import pytest
from harness import Connection, Service, cpu_hogs, drive, get, length_ms, loading, thread_stat
from services.routes20 import ROUTES

PING_PAUSE_S = 0.005
#: What a healthy loop may be late on a busy machine.
SLACK_MS = 25


async def _delay(service, path):
    """Send a request, and meanwhile /ping: its answer, and the longest ping in ms."""
    pings, request = Connection(service.port), Connection(service.port)
    await pings.request("GET", "/ping")
    running = asyncio.create_task(request.request("GET", path))
    longest = 0.0
    while not running.done():
        longest = max(longest, (await pings.request("GET", "/ping")).seconds * 1e3)
        await asyncio.sleep(PING_PAUSE_S)
    pings.close()
    request.close()
    return await running, longest


def delay(service, path):
    answer, longest = asyncio.run(_delay(service, path))
    assert answer.status == 200, service.output
    return longest


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
    ("GET /recv/{ms}", "/recv/120", "blocking_call", "/recv-async/120", 120),
    ("GET /recv-timeout/{ms}", "/recv-timeout/120", "blocking_call", "/recv-async/120", 120),
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
        held = delay(stalls, path)
        lines = stalls.truth(kind, route)
        assert lines, path
        assert lines[-1]["tid"] == stalls.pid, path
        length = length_ms(lines[-1])
        assert length >= least_ms - 1, path
        # A ping that came just before or just after the block was quick.
        assert held >= length - 2 * PING_PAUSE_S * 1e3 - 2, path
        if kind == "cpu_stall":
            assert lines[-1]["cpu_ns"] / 1e6 >= 0.9 * length, path
        elif kind != "gc_pause":
            assert lines[-1]["cpu_ns"] / 1e6 <= 0.2 * length, path
        if twin is not None:
            before = len(stalls.truth())
            assert delay(stalls, twin) <= max(SLACK_MS, least_ms / 4), twin
            assert len(stalls.truth()) == before, twin


def test_parts_of_a_request_add_up(stalls):
    get(stalls, "/sleep-parts/8/5")
    lines = stalls.truth("blocking_call", "GET /sleep-parts/{count}/{ms}")
    assert len(lines) == 8
    assert sum(map(length_ms, lines)) >= 40


def test_the_log_pipe_holds_the_loop(stalls):
    held = delay(stalls, "/log/20")
    lines = stalls.truth("log_backpressure")
    assert len(lines) == 20
    # The pipe takes the first four lines; each of the others waits for the reader.
    assert sum(map(length_ms, lines)) >= 120
    assert held >= 100
    assert delay(stalls, "/log-queued/20") <= SLACK_MS
    assert len(stalls.truth("log_backpressure")) == 20


def test_a_vfork_is_among_the_subprocess_calls(stalls):
    get(stalls, "/subprocess/20")
    assert stalls.truth("blocking_call", "GET /subprocess/{ms}")[-1]["vfork"] is True


def test_work_of_no_request(stalls):
    answer = get(stalls, "/spawn/60")
    assert answer.seconds < 0.06
    time.sleep(0.3)
    (line,) = stalls.truth("blocking_call")
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
        held = delay(service, "/burst/5000/2")
        bursts = service.truth("loop_saturated")
        assert len(bursts) == 2
        for line in bursts:
            assert line["callbacks"] == 5000
            length = (line["end_ns"] - line["start_ns"]) / 1e6
            assert length >= 25
            assert line["longest_ns"] / 1e6 < 20
            assert held >= length / 2
        assert delay(service, "/spread/5000/1") <= SLACK_MS
        (spread,) = service.truth("healthy")
        assert spread["callbacks"] == 5000
        assert get(service, "/ping").status == 200


def test_pages_come_from_the_disk(loop):
    with Service("pagefault:app", loop=loop) as service:
        before = thread_stat(service.pid, "majflt")
        held = delay(service, "/fault/2000")
        (line,) = service.truth("page_fault")
        assert line["tid"] == service.pid
        assert line["major_faults"] >= 100
        assert thread_stat(service.pid, "majflt") - before >= line["major_faults"]
        length = length_ms(line)
        assert length >= 20
        # Off the CPU, and held in one piece.
        assert length - line["cpu_ns"] / 1e6 >= 10
        assert held >= length / 2

        before = thread_stat(service.pid, "majflt")
        calm = delay(service, "/fault-thread/2000")
        (line,) = service.truth("healthy")
        assert line["tid"] != service.pid
        assert line["major_faults"] >= 100
        assert thread_stat(service.pid, "majflt") - before <= 5
        assert calm <= max(SLACK_MS, length / 4)


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
    assert max(length_ms(line) for line in starved) < 30


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
        assert delay(service, "/sleep/60") >= 45
        (line,) = service.truth("blocking_call")
        assert line["pid"] == service.pid
        assert line["file"] == f"{service.sources}/stalls.py"
        assert length_ms(line) >= 60
