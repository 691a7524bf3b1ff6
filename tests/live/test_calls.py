# SPDX-License-Identifier: Apache-2.0
"""Calls that are easily told wrongly, and that the parts of a step add up."""

import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import Service, attached, drive, get, length_ms, loading, sleeps_in, wait_until

STALL_MS = 4
FOLLOW = ("--stall", STALL_MS, "--follow", "-f", "json")
STEP_PART = 0.01
#: clock_nanosleep and nanosleep, as /proc/PID/syscall has them.
SLEEPS = ("230", "35")


@pytest.fixture
def calls(loop):
    with Service("calls:app", loop=loop) as service:
        get(service, "/ping")
        yield service


@pytest.fixture
def stalls(loop):
    with Service("stalls:app", loop=loop) as service:
        get(service, "/ping")
        yield service


def followed(run, kind):
    """What --follow said, of one kind, in a program's own terms."""
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("kind") == kind and "duration_ms" in line]


def without_a_call(step):
    return step["parts_ms"]["calls"] < STALL_MS


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_stop_in_a_sleep_is_no_part_of_it(calls):
    """Stopped and continued, nanosleep goes on as restart_syscall."""
    answers = []
    with attached(calls, *FOLLOW) as run:
        request = threading.Thread(target=lambda: answers.append(get(calls, "/sleep/400")))
        request.start()
        wait_until(lambda: sleeps_in(calls.pid) in SLEEPS, 5, "the sleep")
        os.kill(calls.pid, signal.SIGSTOP)
        wait_until(lambda: state_of(calls.pid) == "T", 5, "it to stop")
        since = time.monotonic()
        time.sleep(0.1)
        stopped_ms = (time.monotonic() - since) * 1e3
        os.kill(calls.pid, signal.SIGCONT)
        request.join()
    took_ms = answers[0].json()["ms"]
    # The clock ran on while it was stopped: the sleep itself was that much shorter.
    assert 400 <= took_ms < 400 + stopped_ms
    (call,) = followed(run, "call")
    assert call["syscall"] in ("clock_nanosleep", "nanosleep")
    assert call["route"] == "/sleep/{ms}"
    # Beside it there are those that lost their CPU for so long.
    (step,) = [step for step in followed(run, "step") if not without_a_call(step)]
    parts = step["parts_ms"]
    assert call["duration_ms"] == pytest.approx(parts["calls"], abs=0.5)
    assert stopped_ms <= parts["stopped"] <= took_ms - call["duration_ms"] + 0.5
    assert call["duration_ms"] + parts["stopped"] + parts["runnable"] >= 400 - 0.5
    assert sum(parts.values()) == pytest.approx(step["duration_ms"], rel=STEP_PART)


def test_what_is_open_at_the_end_is_told(calls):
    """The window ends in the middle of a sleep."""
    request = threading.Thread(target=get, args=(calls, "/sleep/1500"))
    with attached(calls, *FOLLOW) as run:
        request.start()
        wait_until(lambda: sleeps_in(calls.pid) in SLEEPS, 5, "the sleep")
        since = time.monotonic()
        time.sleep(0.1)
        slept_ms = (time.monotonic() - since) * 1e3
    request.join()
    (call,) = followed(run, "call")
    (step,) = [step for step in followed(run, "step") if not without_a_call(step)]
    assert call["ongoing"] and step["ongoing"]
    assert slept_ms <= call["duration_ms"] < 1500
    assert call["duration_ms"] == pytest.approx(step["parts_ms"]["calls"], abs=0.01)
    assert sum(step["parts_ms"].values()) == pytest.approx(step["duration_ms"], rel=STEP_PART)
    (finding,) = run.findings("blocking_call")
    assert finding["ongoing"]
    assert finding["duration_ms"]["max"] == pytest.approx(call["duration_ms"], abs=0.01)


def test_vfork_is_one_call_of_the_parent(calls):
    with attached(calls, *FOLLOW) as run:
        answer = get(calls, "/vfork").json()
    (call,) = [call for call in followed(run, "call") if "fork" in (call["syscall"] or "")]
    assert answer["ms"] > 2 * STALL_MS
    assert call["pid"] == answer["pid"]
    assert call["syscall"] == "vfork"
    assert call["route"] == "/vfork"
    assert STALL_MS < call["duration_ms"] <= answer["ms"]


def test_a_wait_for_io_uring_is_a_call(calls):
    with attached(calls, *FOLLOW) as run:
        answer = get(calls, "/io-uring/50").json()
    (call,) = followed(run, "call")
    assert call["syscall"] == "io_uring_enter"
    assert call["route"] == "/io-uring/{ms}"
    # Late as the service's own stopwatch has it.
    assert 48.5 <= call["duration_ms"] <= answer["ms"]
    assert [finding["route"] for finding in run.findings("blocking_call")] == ["/io-uring/{ms}"]


def test_the_loops_own_io_uring_is_none(calls):
    """uvloop hands changes of its epoll set over by io_uring, where it can."""
    with attached(calls, *FOLLOW) as run:
        drive(calls, ["/ping"] * 500, concurrency=20)
    assert followed(run, "call") == []
    assert run.findings("blocking_call") == []


def check_length(call, truth):
    """By the service's own clocks, whatever was late; between them it also did some work."""
    wall_ms = (truth["end_ns"] - truth["start_ns"]) / 1e6
    asleep_ms = length_ms(truth) - truth["cpu_ns"] / 1e6
    assert asleep_ms - 1 <= call["duration_ms"] <= wall_ms


def test_an_epoll_set_of_its_own_is_a_call(stalls):
    with attached(stalls, *FOLLOW) as run:
        get(stalls, "/epoll/60")
    (truth,) = stalls.truth("blocking_call")
    (call,) = followed(run, "call")
    assert call["syscall"] in ("epoll_wait", "epoll_pwait", "epoll_pwait2")
    assert call["route"] == "/epoll/{ms}"
    check_length(call, truth)
    assert call["duration_ms"] >= 59


def test_a_socket_with_a_timeout_waits_in_poll(stalls):
    with attached(stalls, *FOLLOW) as run:
        get(stalls, "/recv-timeout/60")
    (truth,) = stalls.truth("blocking_call")
    (call,) = followed(run, "call")
    assert call["syscall"] == "poll"
    assert call["route"] == "/recv-timeout/{ms}"
    assert call["peer"].startswith("127.0.0.1:")
    check_length(call, truth)


PARTS = {
    "/sleep-parts/8/5": "calls",
    "/burn/60": "cpu_user",
    "/epoll/40": "calls",
    "/collect": "cpu_user",
    "/subprocess/30": "calls",
    "/compress/4": "cpu_user",
}


def test_the_parts_of_a_step_add_up(stalls):
    with attached(stalls, *FOLLOW) as run:
        for path in PARTS:
            get(stalls, path)
    steps = followed(run, "step")
    assert len(steps) >= len(PARTS)
    for step in steps:
        assert sum(step["parts_ms"].values()) == pytest.approx(
            step["duration_ms"], rel=STEP_PART
        ), step
    largest = [max(step["parts_ms"], key=step["parts_ms"].get) for step in steps]
    assert "calls" in largest and "cpu_user" in largest


def test_deep_stacks_are_counted(calls):
    times = 6
    with attached(calls, *FOLLOW, "--rate", 1) as run:
        drive(calls, ["/deep/400/20"] * times, concurrency=1)
        drive(calls, ["/deep/20/20"] * times, concurrency=1)
    assert len(followed(run, "call")) == 2 * times
    counters = run.report["self"]["counters"]
    # A sample or two of a step that had to wait for its CPU may be among them, and there may
    # be other such steps.
    samples = 2 + sum(map(without_a_call, followed(run, "step")))
    assert 2 * times <= counters["stack_walks"] <= 2 * times + samples
    assert times <= counters["stack_truncated"] <= times + samples
    assert counters["stack_fault"] == 0


def test_a_healthy_loop_costs_no_walks(calls):
    """But where somebody else takes the CPU away for so long that a step is slow."""
    rate_hz = 99
    with attached(calls, "--follow", "-f", "json", "--stall", 1) as run:
        with loading(calls, itertools.repeat("/ping"), concurrency=4, interval_s=0.002):
            time.sleep(3)
    (target,) = run.report["targets"]
    assert sum(each["steps"] for each in target["loops"]) > 500
    assert run.findings("blocking_call") == []
    slow = [step["duration_ms"] for step in followed(run, "step")]
    samples = sum(1 + ms * rate_hz / 1e3 for ms in slow)
    assert run.report["self"]["counters"]["stack_walks"] <= samples, slow


def test_a_holder_without_a_cpu_is_counted(calls):
    times, hold_ms = 5, 60
    threads = Path(f"/proc/{calls.pid}/task")
    before = len(list(threads.iterdir()))
    with attached(calls, "--stall", STALL_MS) as run:
        first = get(calls, f"/keep-gil/{times}/{hold_ms}")
        with loading(calls, itertools.repeat("/ping"), concurrency=1, interval_s=0.001) as load:
            wait_until(lambda: len(list(threads.iterdir())) == before, 10, "the thread to end")
    # Where the client sleeps through one of them the loop does not want to run meanwhile.
    waited = sum(answer.seconds * 1e3 >= hold_ms - 10 for answer in [first, *load.answers])
    least = times if waited >= times else times - 1
    assert least <= run.report["self"]["counters"]["holder_unknown"] <= times
