# SPDX-License-Identifier: Apache-2.0
"""What the report says in one line, for services that are slow for one reason, or for none."""

import re
import time
from contextlib import ExitStack
from datetime import datetime

import pytest
from harness import LOOPS, SERVICES, Service, attached, cpu_hogs, drive, get, loading
from kinds import by_the_machine, seen
from servers import Upstream

ALONE_S = 2.5
PHASE_S = 4  # when it is followed by another: see test_it_changes()
THREADS = 2
#: Path that is slow, callers, what the verdict is, and what it names.
REASONS = {
    "block": ("/block/80", 2, "loop_blocked", "blocking_call"),
    "thread": ("/thread/120", 8, "pool_exhausted", "threadpool_exhaustion"),
    "peer": ("/peer/200", 4, "slow_dependency", "slow_dependency"),
}
#: A peer that takes so long is slow, be it for want of a CPU.
SLOW_PEER_S = 0.1
#: Slow as well, but nothing is wrong: those that wait on purpose, or have what they need.
TWINS = {"block": "/timer/80", "thread": "/thread/120", "peer": "/peer/5"}


def line_of(name):
    source = (SERVICES / "judged.py").read_text().splitlines()
    return next(n for n, text in enumerate(source, 1) if re.search(rf"  # {name}$", text))


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module", params=LOOPS)
def service(upstream, request):
    env = {"LOOPSCOPE_UPSTREAM": upstream.port}
    with Service("judged:app", loop=request.param, env=env, cpu=0) as service:
        get(service, "/ping")
        yield service


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def until(service, path, callers, end):
    """Requests until that time, and others that come by now and then; the former's answers."""
    answers = []
    with loading(service, iter(lambda: "/ping", None), concurrency=1, interval_s=0.01):
        while time.time() < end:
            answers += drive(service, [path] * callers, concurrency=callers)
    return answers


def finding_of(run, verdict):
    (finding,) = [f for f in run.report["findings"] if f["id"] == verdict["finding"]]
    return finding


def of_the_service(run):
    """A machine that gives it no CPU is said as well, and no fault of the service."""
    return [
        verdict
        for verdict in run.report["verdicts"]
        if verdict["verdict"] != "cpu_starved"
        and not (verdict["finding"] and by_the_machine(run, finding_of(run, verdict)))
    ]


def in_a_row(run):
    verdicts = run.report["verdicts"]
    assert verdicts[0]["start"] == run.report["window"]["start"]
    for before, after in zip(verdicts, verdicts[1:], strict=False):
        assert before["end"] == after["start"]
        assert (before["verdict"], before["finding"]) != (after["verdict"], after["finding"])
    return verdicts


@pytest.mark.parametrize("name", REASONS)
def test_slow_for_one_reason(service, name):
    path, callers, kind, finding_kind = REASONS[name]
    with seen(service) as run:
        until(service, path, callers, time.time() + ALONE_S)
    in_a_row(run)
    named = [v for v in of_the_service(run) if v["verdict"] != "healthy"]
    assert {v["verdict"] for v in named} == {kind}, named
    assert len({v["finding"] for v in named}) == 1
    finding = finding_of(run, named[0])
    assert finding["kind"] == finding_kind
    assert finding["route"] == f"/{name}/{{ms}}"
    assert finding["culprit"]["line"] == line_of(name)
    assert f"judged.py:{line_of(name)} {name}" in named[0]["text"]
    assert sum(seconds(v["end"]) - seconds(v["start"]) for v in named) >= ALONE_S / 2
    assert sum(v["slow_requests"] for v in named) >= callers
    first = run.text("stdout").splitlines()[0]
    assert first.startswith("verdict")
    assert named[0]["text"].partition(" by ")[0].partition(" (")[0] in first


@pytest.mark.parametrize("name", TWINS)
def test_healthy_twin(service, name):
    with seen(service) as run:
        answers = until(service, TWINS[name], THREADS, time.time() + ALONE_S)
    in_a_row(run)
    late = [answer for answer in answers if name == "peer" and answer.seconds >= SLOW_PEER_S]
    assert sum(f["count"] for f in run.findings("slow_dependency")) <= len(late)
    healthy = [v for v in of_the_service(run) if not (late and v["verdict"] == "slow_dependency")]
    assert {v["verdict"] for v in healthy} <= {"healthy"}, run.report["verdicts"]
    assert {v["finding"] for v in healthy} <= {None}
    assert {v["text"] for v in healthy} <= {"healthy"}
    requests = sum(v["requests"] for v in run.report["verdicts"])
    assert requests > ALONE_S * 10
    # A busy machine takes some of them a moment, too little for a finding.
    assert sum(v["slow_requests"] for v in of_the_service(run)) <= requests / 50


def test_it_changes(upstream):
    """Each of them for a while, below one attach, with a healthy while in between."""
    phases = []
    env = {"LOOPSCOPE_UPSTREAM": upstream.port}
    with Service("judged:app", env=env, cpu=0) as service, seen(service) as run:
        for name in REASONS:
            for path, callers in (("/timer/5", 1), REASONS[name][:2]):
                start = time.time()
                until(service, path, callers, start + PHASE_S)
                phases.append((path, start, time.time()))
    in_a_row(run)
    verdicts = of_the_service(run)
    kinds = {path: kind for path, _, kind, _ in REASONS.values()}
    for path, start, end in phases:
        # Slots of a second: the first and the last one are of two phases.
        within = {
            v["verdict"]
            for v in verdicts
            if seconds(v["start"]) < end - 1.5 and seconds(v["end"]) > start + 1.5
        }
        wanted = kinds.get(path, "healthy")
        # A machine that gives it no CPU may do so for a whole healthy phase.
        assert wanted in within or wanted == "healthy", (path, verdicts)
        assert within <= {wanted}, (path, verdicts)


def test_no_cpu(service):
    with ExitStack() as stack:
        # Each is a session, to which the kernel may give as much as to the service.
        for _ in range(3):
            stack.enter_context(cpu_hogs(0, 1))
        run = stack.enter_context(seen(service))
        until(service, "/spin/40", 1, time.time() + ALONE_S)
    in_a_row(run)
    starved = [v for v in run.report["verdicts"] if v["verdict"] == "cpu_starved"]
    assert {v["verdict"] for v in of_the_service(run)} <= {"healthy"}
    kinds = {finding_of(run, v)["kind"] for v in starved}
    assert kinds == {"cpu_starvation"}, run.report["verdicts"]
    assert sum(seconds(v["end"]) - seconds(v["start"]) for v in starved) >= ALONE_S / 2
    assert "had the CPU" in starved[0]["text"]


def test_idle(service):
    with attached(service, "-d", "2s", interrupt=False) as run:
        pass
    (verdict,) = run.report["verdicts"]
    assert (verdict["verdict"], verdict["finding"]) == ("healthy", None)
    assert verdict["text"] == "healthy, but no request was answered"
