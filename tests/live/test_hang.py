# SPDX-License-Identifier: Apache-2.0
"""A loop that does not come back is named while it hangs, and in the report."""

import re
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from harness import HOST, Service, attached, drive, get, length_ms, wait_until

#: A finding needs 20 ms; from then on there is a second.
WITHIN_S = 1.02
#: What the line has after "stalled": its length, a unit included.
LENGTH = r"(\d[\d.]* m?s)"
#: From the probes to the loops that are there, and from the truth to the call, at most.
FIND_S = 0.5
BEGIN_S = 0.02


def seconds(length):
    number, unit = length.split()
    return float(number) * {"ms": 1e-3, "s": 1}[unit]


def send(service, method, path):
    """A request whose answer nobody waits for; a socket to be closed."""
    request = socket.create_connection((HOST, service.port))
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n"
    request.sendall(head.encode())
    return request


def run_delay_ns(service):
    return int(Path(f"/proc/{service.pid}/task/{service.pid}/schedstat").read_text().split()[1])


def statement(function, text):
    """Line of a statement of services/hang.py, below that function."""
    lines = (Path(__file__).parent / "services/hang.py").read_text().splitlines()
    begin = next(n for n, line in enumerate(lines) if re.match(rf"(async )?def {function}\b", line))
    *_, last = [n for n, line in enumerate(lines[begin : begin + 6], begin + 1) if text in line]
    return last


def only_stall(run):
    """The one line that says that the loop hangs."""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    return lines[0]


def found(run):
    """Its findings, but what the machine alone has part in."""
    return [finding for finding in run.findings() if finding["kind"] != "cpu_starvation"]


#: method, path, how the line names what it is for, kind, function, statement, system call
HANGS = {
    "spin": ("GET", "/spin/7", "GET /spin/{number}", "cpu_stall", "spin", "number", None),
    "sleep": (
        "POST",
        "/sleep/7",
        "POST /sleep/{number}",
        "blocking_call",
        "sleep_forever",
        "time.sleep",
        "clock_nanosleep",
    ),
    "lock": (
        "GET",
        "/lock/7",
        "GET /lock/{number}",
        "lock_wait",
        "lock_forever",
        "held.acquire",
        "futex",
    ),
    "task": (
        "GET",
        "/spawn/7",
        "task sweeper",
        "blocking_call",
        "sweep",
        "time.sleep",
        "clock_nanosleep",
    ),
}


@pytest.fixture(params=HANGS)
def hang(request):
    return HANGS[request.param]


def check_line(line, service, hang):
    """What is said on stderr; the length that it says, in seconds."""
    _, _, owner, _, function, text, call = hang
    place = rf"{re.escape(service.sources)}/hang\.py:(\d+) {function}"
    match = re.match(rf"stalled {LENGTH}  {re.escape(owner)}  {place}", line)
    assert match, line
    number = int(match[2])
    if call:
        assert number == statement(function, text), line
        assert line[match.end() :].startswith(f"  ({call})"), line
    else:
        assert statement(function, "while True") <= number <= statement(function, "number"), line
    return seconds(match[1])


def check_finding(run, hang, since_before, least_s, most_s):
    """The report has it, still going on, for as long as it had lasted by then."""
    _, _, owner, kind, function, _, call = hang
    [finding] = run.findings(kind)
    name = f"{finding['method']} {finding['route']}"
    if owner.startswith("task "):
        assert finding["route"] is None and finding["method"] is None
        name = f"task {finding['owner']['task']}"
    assert name == owner
    assert finding["ongoing"] is True
    assert finding["since_before"] is since_before
    assert finding["count"] == 1
    assert finding["culprit"]["qualname"] == function
    assert finding["syscall"] == call
    assert finding["severity"] == "critical"
    assert least_s * 1e3 <= finding["duration_ms"]["max"] <= most_s * 1e3
    assert [share["pid"] for share in finding["processes"]] == [run.report["targets"][0]["pid"]]
    others = {other["kind"] for other in run.report["findings"]} - {kind}
    assert others <= {"cpu_starvation"}, others


def lasted(service, hang, run, began, delay):
    """Bounds of how long it can have lasted when the report was made."""
    waited = 0
    if hang[3] == "cpu_stall":
        # What it waited for a CPU is not its own; of what is sampled the rest counts.
        waited = (run_delay_ns(service) - delay) / 1e9 + 0.05
    return run.interrupted - began - waited - BEGIN_S, time.monotonic() - began


def test_hang_is_said_while_it_lasts(hang, loop):
    method, path = hang[:2]
    with Service("hang:app", loop=loop) as service:
        drive(service, ["/ping"] * 3)
        try:
            with attached(service) as run:
                delay = run_delay_ns(service)
                with closing(send(service, method, path)):
                    [line] = wait_until(lambda: service.truth("hang"), 5, "the hang to begin")
                    began = line["start_ns"] / 1e9
                    run.wait_for("\n", 5)
                    assert time.monotonic() - began <= WITHIN_S + 0.1, run.stderr
                    said = check_line(only_stall(run), service, hang)
                    assert 0.02 <= said <= WITHIN_S
                    assert "since before" not in run.stderr
                    # It is said once, however long it lasts.
                    time.sleep(0.5)
            assert run.status == 0
            only_stall(run)
            check_finding(run, hang, False, *lasted(service, hang, run, began, delay))

            # Another attach finds it hanging, before its last probe is there.
            delay = run_delay_ns(service)
            asked = time.monotonic()
            with attached(service) as run:
                began = run.attached
                run.wait_for("\n", 5)
                line = only_stall(run)
                said = check_line(line, service, hang)
                assert 0.02 <= said <= 1
                held = re.search(rf"held for at least {LENGTH}, since before the attach$", line)
                assert held, line
                assert seconds(held[1]) == said
                assert time.monotonic() - began <= 1
                time.sleep(1)
            assert run.status == 0
            only_stall(run)
            least, _ = lasted(service, hang, run, began, delay)
            check_finding(run, hang, True, least - FIND_S, time.monotonic() - asked)
        finally:
            service.process.kill()


def test_end_of_a_stall_is_said(loop):
    with Service("stalls:app", loop=loop) as service:
        drive(service, ["/ping"] * 3)
        with attached(service) as run:
            get(service, "/sleep/1500")
            run.wait_for("over\n")
        [truth] = service.truth("blocking_call")
    first, last = run.stderr.splitlines()
    place = f"GET /sleep/{{ms}}  {service.sources}/stalls.py:{truth['line']} sleep"
    assert re.fullmatch(rf"stalled \d+ ms  {re.escape(place)}  \(clock_nanosleep\)", first)
    assert re.fullmatch(rf"stalled [\d.]+ s  {re.escape(place)}  \(clock_nanosleep\)  over", last)
    assert seconds(re.match(rf"stalled {LENGTH}", last)[1]) >= 1.5
    [finding] = found(run)
    assert finding["ongoing"] is False and finding["since_before"] is False
    assert finding["duration_ms"]["max"] >= length_ms(truth) - 1


def test_stall_that_was_there_ends(loop):
    with Service("stalls:app", loop=loop) as service:
        drive(service, ["/ping"] * 3)
        with closing(send(service, "GET", "/sleep/4000")):
            time.sleep(0.2)
            with attached(service) as run:
                assert not service.truth("blocking_call")
                wait_until(lambda: service.truth("blocking_call"), 10, "the end of the call")
                run.wait_for("over")
            [truth] = service.truth("blocking_call")
    [finding] = run.findings("blocking_call")
    assert finding["route"] == "/sleep/{ms}"
    assert finding["since_before"] is True and finding["ongoing"] is False
    left = truth["end_ns"] / 1e9 - run.attached
    assert (left - FIND_S) * 1e3 <= finding["duration_ms"]["max"] < length_ms(truth)
    assert re.search(r"over, held for at least [\d.]+ s, since before the attach\n", run.stderr)


def test_below_its_threshold_nothing_is_said(loop):
    with Service("stalls:app", loop=loop) as service:
        with attached(service, "--stall", 4000) as run:
            drive(service, ["/sleep/1000", "/burn/700"], concurrency=1)
    assert run.status == 0
    assert run.stderr == ""
    assert found(run) == []


def test_idle_loop_is_not_stalled(loop):
    with Service("stalls:app", loop=loop) as service:
        drive(service, ["/ping"])
        with attached(service) as run:
            time.sleep(1.5)
            drive(service, ["/ping", "/sleep-async/800"], concurrency=1)
    assert run.status == 0
    assert run.stderr == ""
    assert found(run) == []
