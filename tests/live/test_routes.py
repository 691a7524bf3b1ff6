# SPDX-License-Identifier: Apache-2.0
"""Twenty routes under load, with collector churn: whose call was it?

LOOPSCOPE_ROUTE_REQUESTS=50000 is the long form; without it there are fewer.
"""

import os
import threading
from collections import Counter

import pytest
from harness import Service, attached, drive, get
from services.routes20 import ROUTES

REQUESTS = int(os.environ.get("LOOPSCOPE_ROUTE_REQUESTS", "20000"))
#: Far below what the routes sleep, which may be nearly over when the thread goes to sleep.
OPTIONS = ("--slow-call", 0.01, "--stall", 0.01)


def requests(count, start=0):
    """So many requests, the routes in turn, each with a number of its own."""
    return [
        (method, path.replace("{n}", str(start + number)))
        for number in range(count // len(ROUTES))
        for method, path, _ in ROUTES
    ]


def naps(run):
    """The findings that are the routes' own sleeps."""
    return [f for f in run.findings("blocking_call") if f["syscall"] == "clock_nanosleep"]


class Truth:
    """How many calls of each route slept since then."""

    def __init__(self, service):
        self.service = service
        self.before = self.now()

    def now(self):
        return [Counter(counts) for counts in get(self.service, "/slept").json()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        after = self.now()
        self.slept, self.left = (a - b for a, b in zip(after, self.before, strict=True))

    def check(self, counts):
        """All that slept, and none beside those whose thread was off its CPU."""
        assert self.slept <= counts <= self.left, (self.slept, counts, self.left)


def route_of(finding):
    return f"{finding['method']} {finding['route']}"


def test_every_slow_call_has_its_route(loop):
    with Service("routes20:app", loop=loop) as service:
        answers = drive(service, requests(len(ROUTES)), concurrency=1)
        endpoints = {a.headers["x-route"]: a.headers["x-endpoint"] for a in answers}
        assert list(endpoints) == [route for _, _, route in ROUTES]
        with attached(service, *OPTIONS) as run:
            with Truth(service) as truth:
                answers = drive(service, requests(REQUESTS), concurrency=8)
    assert run.status == 0 and run.stderr == ""
    told = Counter(answer.headers["x-route"] for answer in answers)
    assert told == dict.fromkeys(endpoints, REQUESTS // len(ROUTES))
    # Hardly any call was over before its thread had gone to sleep.
    assert truth.slept.total() >= 0.99 * REQUESTS

    assert not any(run.report["loss"]["lost"].values())
    counts, calls = Counter(), Counter()
    for finding in naps(run):
        route = route_of(finding)
        counts[route] += finding["count"]
        calls[route] += finding["calls"]
        # The frame is the endpoint's own: it cannot be another route's call.
        assert finding["culprit"]["qualname"] == endpoints.get(route), finding
        assert finding["requests"] == finding["count"]
        assert finding["evidence"] == "exact"
    truth.check(counts)
    assert calls == counts
    # Whatever else took its time in requests: no other route or method comes up.
    others = {route_of(f) for f in run.report["findings"] if f["route"]}
    assert others - set(endpoints) <= {"GET /slept"}


@pytest.fixture
def twice():
    with Service("mounts:app") as service:
        yield service


def test_mounted_twice(twice):
    """The same application and the same routes at two places are two routes."""
    paths = {
        "/v1/items/{number}": "/v1/items/7",
        "/v2/items/{number}": "/v2/items/7",
        "/inner/v3/plain/{number}": "/inner/v3/plain/7",
        "/inner/v4/plain/{number}": "/inner/v4/plain/7",
        "/tenant/{tenant}/items/{number}": "/tenant/acme/items/7",
    }
    with attached(twice) as run:
        for number, path in enumerate(paths.values(), 1):
            drive(twice, [path] * number, concurrency=1)
    counts = {route_of(f): f["count"] for f in run.findings("blocking_call")}
    assert counts == {f"GET {route}": n for n, route in enumerate(paths, 1)}


def test_routes_of_threads_and_clients_that_go(loop):
    """Many short connections: what belongs to a request goes with it."""
    with Service("routes20:app", loop=loop) as service:
        # FastAPI looks for the file of an endpoint that is called first, which is a slow call.
        drive(service, requests(len(ROUTES)), concurrency=1)
        with attached(service, *OPTIONS) as run:
            threads = [
                threading.Thread(
                    target=lambda start=start: [
                        get(service, path, method) for method, path in requests(200, start)
                    ]
                )
                for start in (0, 1000, 2000)
            ]
            with Truth(service) as truth:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
    assert truth.slept.total() >= 590
    counts = Counter()
    for finding in naps(run):
        counts[route_of(finding)] += finding["count"]
    truth.check(counts)


def test_requests_of_tasks_of_one_name(loop):
    """Where a task's parent is not known, its address comes up again with the next one."""
    with Service("named_tasks:app", loop=loop) as service:
        with attached(service, "--slow-call", 1, "--stall", 1) as run:
            drive(service, ["/nap"] * 50, concurrency=1)
    [finding] = naps(run)
    assert finding["count"] == finding["requests"] == 50
    assert finding["calls"] == 100
