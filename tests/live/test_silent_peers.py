# SPDX-License-Identifier: Apache-2.0
"""A peer that never answers is as slow as its clients are patient; see silent.py."""

import socket
import threading

import pytest
from harness import LOOPS, Service, attached, drive
from servers import clients_python

TIMES = 3
MS = 250
SILENT = ("httpx", "aiohttp", "thread")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def answer_all(listener):
    connections = []
    while True:
        try:
            connections.append(listener.accept()[0])
        except OSError:
            break
        if connections[-1].recv(4096):
            connections[-1].sendall(ANSWER)
    for connection in connections:
        connection.close()


@pytest.fixture(scope="module")
def ports():
    """Of a peer whose kernel takes what comes, and of one that answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        with socket.create_server(("127.0.0.1", 0)) as prompt:
            answering = threading.Thread(target=answer_all, args=(prompt,))
            answering.start()
            try:
                yield silent.getsockname()[1], prompt.getsockname()[1]
            finally:
                prompt.shutdown(socket.SHUT_RDWR)
                answering.join()


@pytest.fixture(scope="module", params=LOOPS)
def run(request, ports):
    silent, prompt = ports
    env = {"LOOPSCOPE_SILENT": silent, "LOOPSCOPE_PROMPT": prompt}
    paths = [f"/{what}/{MS}" for what in (*SILENT, "told", "unread", "left")] * TIMES
    python = clients_python()
    with Service("silent:app", loop=request.param, interpreter=python, env=env) as service:
        with attached(service) as run:
            answers = drive(service, paths, concurrency=1)
            # The connections of /left are given up once their requests are over.
            drive(service, [f"/told/{MS}"], concurrency=1)
        with attached(service, json_report=False) as said:
            drive(service, [f"/httpx/{MS}"] * 2, concurrency=1)
    assert run.status == 0, run.stderr
    assert {answer.status for answer in answers} == {200}
    run.silent = f"127.0.0.1:{silent}"
    run.took = {}
    for path, answer in zip(paths, answers, strict=True):
        run.took.setdefault(path, []).append(float(answer.body))
    run.text = said.stdout
    return run


def row_of(run, what):
    (row,) = [row for row in run.report["dependencies"] if row["route"] == f"/{what}/{{ms}}"]
    return row


@pytest.mark.parametrize("what", SILENT)
def test_it_was_waited_for_that_long(run, what):
    took = run.took[f"/{what}/{MS}"]
    row = row_of(run, what)
    assert (row["peer"], row["protocol"]) == (run.silent, "http/1.1")
    assert (row["calls"], row["failures"], row["given_up"]) == (TIMES, TIMES, TIMES)
    # Clients take the time of their loop, which may be some ms old.
    assert MS - 20 <= row["latency_ms"]["min"]
    assert row["latency_ms"]["max"] <= max(took) + 1
    (finding,) = run.findings("slow_dependency", f"/{what}/{{ms}}")
    assert (finding["count"], finding["peer"], finding["ongoing"]) == (TIMES, run.silent, False)
    assert finding["culprit"]["file"].endswith("/silent.py")


@pytest.mark.parametrize("what", ["httpx", "aiohttp"])
def test_where_the_time_went(run, what):
    (route,) = [row for row in run.report["routes"] if row["route"] == f"/{what}/{{ms}}"]
    assert route["time_ms"]["dependency_wait"] >= TIMES * (MS - 20)


@pytest.mark.parametrize("what", ["told", "unread", "left"])
def test_others_are_not_slow(run, what):
    row = row_of(run, what)
    assert row["calls"] >= TIMES
    assert row["latency_ms"]["count"] == 0 or row["latency_ms"]["max"] < 100
    assert run.findings("slow_dependency", f"/{what}/{{ms}}") == []


def test_who_is_told_something_owes_nothing(run):
    row = row_of(run, "told")
    assert row["failures"] == row["given_up"] == row["unanswered"] == row["errors"] == 0


def test_a_timer_is_a_timer(run):
    (route,) = [row for row in run.report["routes"] if row["route"] == "/told/{ms}"]
    assert route["time_ms"]["dependency_wait"] == 0
    assert route["time_ms"]["timer_wait"] > 0


def test_the_report_says_so(run):
    assert "given up without an answer" in run.text
