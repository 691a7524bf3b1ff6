# SPDX-License-Identifier: Apache-2.0
"""Independent ground truth: what really happened inside a lab service.

The probe never looks at a profiler. It measures from inside the process:

* ``full``  every step of every task (wall and on-CPU time of one uninterrupted run on
            the loop, less the time the thread was runnable but got no CPU), a loop
            heartbeat, GC pauses, thread limiter, executor queues, pool gauges,
            per-request counters. Used to calibrate expectations. It wraps task
            coroutines, so it changes the await chains a profiler would walk.
* ``stacks`` like ``lite``, plus the innermost application frame of every stalled loop,
            busy thread and suspended task. Used to verify the culprit lines.
* ``lite``  heartbeat, request timings, gauges and counters. Does not wrap coroutines.
            Used while a profiler is attached.
* ``off``   the application is served untouched.

The mode is taken from ``LAB_TRUTH``; the report is written to ``LAB_TRUTH_DIR`` when the
service shuts down. Requests are grouped by the ``x-lab-case`` header.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import inspect
import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from concurrent.futures import thread as futures_thread
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from labkit.stacks import Sampler, Sites

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MODE = os.environ.get("LAB_TRUTH", "lite")
HEARTBEAT_S = 0.005
IDLE_CASE = "idle"


class PoolGauge(TypedDict):
    size: int
    in_use: int
    waiting: int


@dataclass(slots=True)
class RequestRecord:
    """One HTTP request or one websocket connection."""

    case: str
    method: str
    started_ns: int
    route: str = ""
    status: int = 0
    ttfb_ms: float = 0.0
    wall_ms: float = 0.0
    steps: int = 0
    max_step_ms: float = 0.0
    max_step_cpu_ms: float = 0.0
    loop_ms: float = 0.0
    loop_cpu_ms: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def add_step(self, wall_ms: float, cpu_ms: float) -> None:
        self.steps += 1
        self.loop_ms += wall_ms
        self.loop_cpu_ms += cpu_ms
        if wall_ms > self.max_step_ms:
            self.max_step_ms = wall_ms
            self.max_step_cpu_ms = cpu_ms


@dataclass(slots=True)
class CaseWindow:
    """Process-wide observations made while one case was running."""

    started_ns: int
    requests: list[RequestRecord] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)
    starved_ms: float = 0.0
    gauges: dict[str, PoolGauge] = field(default_factory=dict)
    gc_pauses_ms: list[float] = field(default_factory=list)
    task_steps_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sites: Sites = field(default_factory=Sites)
    observations: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


_current: ContextVar[RequestRecord | None] = ContextVar("lab_request", default=None)


def _percentile(values: list[float], fraction: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(fraction * len(ordered)))], 3)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "min": round(min(values, default=0.0), 3),
        "p50": _percentile(values, 0.50),
        "p95": _percentile(values, 0.95),
        "max": round(max(values, default=0.0), 3),
    }


class Probe:
    """Collects the truth of one process."""

    def __init__(self) -> None:
        self._windows: dict[str, CaseWindow] = {}
        self._case = IDLE_CASE
        self._gauges: dict[str, Callable[[], PoolGauge]] = {}
        self._waiting: dict[str, int] = {}
        self._gc_started_ns = 0
        self._heartbeat: asyncio.Task[None] | None = None
        self._written = False
        self._service = "service"
        self._schedstat: int | None = None
        self._sampler: Sampler | None = None

    # -- called by services -------------------------------------------------

    def gauge(self, name: str, read: Callable[[], PoolGauge]) -> None:
        """Register a pool to be sampled at every heartbeat."""
        self._gauges[name] = read

    def count(self, name: str, amount: int = 1) -> None:
        """Count something (a query, a call) against the current request."""
        record = _current.get()
        if record is not None:
            record.counts[name] += amount

    def observe(self, name: str, value_ms: float) -> None:
        """Record a duration that a service measured itself."""
        self._window(self._case).observations[name].append(value_ms)

    # -- lifecycle ----------------------------------------------------------

    def start(self, service: str) -> None:
        self._service = service
        loop = asyncio.get_running_loop()
        try:
            thread = threading.get_native_id()
            self._schedstat = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = None
        self._window(IDLE_CASE)
        self._heartbeat = loop.create_task(self._beat())
        gc.callbacks.append(self._on_gc)
        if MODE == "stacks":
            self._sampler = Sampler()
            self._sampler.start()
        if MODE == "full":
            loop.set_task_factory(_timed_task_factory)
        atexit.register(self.write)

    def enter_case(self, case: str) -> None:
        if case != self._case:
            self._case = case
            window = self._window(case)
            if self._sampler is not None:
                self._sampler.sites = window.sites

    def add_request(self, record: RequestRecord) -> None:
        self._window(record.case).requests.append(record)

    def add_task_step(self, name: str, wall_ms: float) -> None:
        steps = self._window(self._case).task_steps_ms
        steps[name] = max(steps[name], wall_ms)

    def starved_ns(self) -> int:
        """How long the loop thread has been runnable without a CPU, so far."""
        if self._schedstat is None:
            return 0
        return int(os.pread(self._schedstat, 64, 0).split()[1])

    # -- internals ----------------------------------------------------------

    def _window(self, case: str) -> CaseWindow:
        window = self._windows.get(case)
        if window is None:
            window = self._windows[case] = CaseWindow(time.perf_counter_ns())
        return window

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_started_ns = time.perf_counter_ns()
        elif self._gc_started_ns:
            pause = (time.perf_counter_ns() - self._gc_started_ns) / 1e6
            if pause >= 1.0:
                self._window(self._case).gc_pauses_ms.append(pause)

    async def _beat(self) -> None:
        from anyio.to_thread import current_default_thread_limiter

        limiter = current_default_thread_limiter()
        while True:
            before, starved = time.perf_counter_ns(), self.starved_ns()
            await asyncio.sleep(HEARTBEAT_S)
            lag = (time.perf_counter_ns() - before) / 1e6 - HEARTBEAT_S * 1e3
            starved_ms = (self.starved_ns() - starved) / 1e6
            window = self._window(self._case)
            if self._sampler is not None:
                self._sampler.beat()
            window.lags_ms.append(lag - starved_ms)
            window.starved_ms += starved_ms
            stats = limiter.statistics()
            self._merge(
                window,
                "anyio-threads",
                PoolGauge(
                    size=int(stats.total_tokens),
                    in_use=stats.borrowed_tokens,
                    waiting=stats.tasks_waiting,
                ),
            )
            for name, gauge in _executor_gauges().items():
                self._merge(window, name, gauge)
            for name, read in self._gauges.items():
                self._merge(window, name, read())

    def _merge(self, window: CaseWindow, name: str, now: PoolGauge) -> None:
        """Keep the peaks. Only who is seen waiting at two heartbeats in a row counts: an item
        that a thread is about to take is no sign of a pool at its limit."""
        before = self._waiting.get(name, 0)
        self._waiting[name] = now["waiting"]
        now["waiting"] = min(now["waiting"], before)
        seen = window.gauges.get(name)
        if seen is None:
            window.gauges[name] = now
            return
        for key in ("size", "in_use", "waiting"):
            seen[key] = max(seen[key], now[key])  # type: ignore[literal-required]

    def report(self) -> dict[str, Any]:
        cases: dict[str, Any] = {}
        for case, window in self._windows.items():
            routes: dict[str, list[RequestRecord]] = defaultdict(list)
            for record in window.requests:
                routes[f"{record.method} {record.route}"].append(record)
            cases[case] = {
                "loop_lag_ms": _spread(window.lags_ms),
                "starved_ms": round(window.starved_ms, 1),
                "stalls_over_50ms": sum(1 for lag in window.lags_ms if lag > 50.0),
                "stall_total_ms": round(sum(lag for lag in window.lags_ms if lag > 20.0), 1),
                "gc_pauses_ms": _spread(window.gc_pauses_ms),
                "pools": window.gauges,
                "task_steps_ms": {
                    name: round(value, 2)
                    for name, value in window.task_steps_ms.items()
                    if value >= 5.0
                },
                "sites": window.sites.report(),
                "observations_ms": {
                    name: _spread(values) for name, values in window.observations.items()
                },
                "routes": {
                    route: {
                        "status": dict(Counter(str(r.status) for r in records)),
                        "wall_ms": _spread([r.wall_ms for r in records]),
                        "ttfb_ms": _spread([r.ttfb_ms for r in records]),
                        "max_step_ms": _spread([r.max_step_ms for r in records]),
                        "max_step_cpu_ms": _spread([r.max_step_cpu_ms for r in records]),
                        "loop_ms": _spread([r.loop_ms for r in records]),
                        "loop_cpu_ms": _spread([r.loop_cpu_ms for r in records]),
                        "counts_per_request": {
                            name: _spread([float(r.counts[name]) for r in records])
                            for name in sorted({n for r in records for n in r.counts})
                        },
                    }
                    for route, records in sorted(routes.items())
                },
            }
        return {"service": self._service, "pid": os.getpid(), "mode": MODE, "cases": cases}

    def write(self) -> None:
        target = os.environ.get("LAB_TRUTH_DIR")
        if target is None or self._written:
            return
        self._written = True
        folder = Path(target)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._service}-{os.getpid()}.json"
        path.write_text(json.dumps(self.report(), indent=1) + "\n")


PROBE = Probe()


def _executor_gauges() -> dict[str, PoolGauge]:
    """Queue length of every ThreadPoolExecutor that has live threads."""
    gauges: dict[str, PoolGauge] = {}
    for worker, work_queue in list(futures_thread._threads_queues.items()):
        name = "executor:" + worker.name.rsplit("_", 1)[0]
        gauge = gauges.setdefault(name, PoolGauge(size=0, in_use=0, waiting=0))
        gauge["size"] += 1
        gauge["in_use"] += 1
        gauge["waiting"] = work_queue.qsize()
    return gauges


class _Steps:
    """Drives a coroutine and times every uninterrupted run of it."""

    __slots__ = ("_coro",)

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def __await__(self) -> Generator[Any, Any, Any]:
        coro = self._coro
        value: Any = None
        error: BaseException | None = None
        while True:
            starved = PROBE.starved_ns()
            wall = time.perf_counter_ns()
            cpu = time.thread_time_ns()
            try:
                if error is not None:
                    yielded = coro.throw(error)
                else:
                    yielded = coro.send(value)
            except StopIteration as stop:
                return stop.value
            finally:
                cpu = time.thread_time_ns() - cpu
                wall = time.perf_counter_ns() - wall - (PROBE.starved_ns() - starved)
                self._note(wall / 1e6, cpu / 1e6)
            value, error = None, None
            try:
                value = yield yielded
            except GeneratorExit:
                coro.close()
                raise
            except BaseException as caught:
                error = caught

    def _note(self, wall_ms: float, cpu_ms: float) -> None:
        record = _current.get()
        if record is not None:
            record.add_step(wall_ms, cpu_ms)
        else:
            PROBE.add_task_step(getattr(self._coro, "__qualname__", "task"), wall_ms)


async def _timed(coro: Coroutine[Any, Any, Any]) -> Any:
    return await _Steps(coro)


def _timed_task_factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(_timed(coro), loop=loop, **kwargs)


def _route_template(scope: Scope) -> str:
    """The full template the request was routed to.

    ``scope["route"].path`` is not enough: it lacks the prefix of the routers it was
    included through and the path of the mounts above it, and plain Starlette routes
    (``/openapi.json``) set no route at all.
    """
    mount = scope.get("root_path", "")
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    for candidate in (getattr(context, "starlette_route", None), context, scope.get("route")):
        path = getattr(candidate, "path_format", None)
        if path is not None:
            return f"{mount}{path}"
    if inspect.isroutine(scope.get("endpoint")) and not scope.get("path_params"):
        path: str = scope["path"]  # without its mount before Starlette 0.33
        return path if path.startswith(mount) else f"{mount}{path}"
    return f"{mount}/{{path}}" if mount else "<unmatched>"


class _ProbeApp:
    """Outermost ASGI layer: times requests and tags them with their case."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        headers = dict(scope["headers"])
        case = headers.get(b"x-lab-case", b"untagged").decode()
        PROBE.enter_case(case)
        record = RequestRecord(
            case=case,
            method="WS" if scope["type"] == "websocket" else scope["method"],
            started_ns=time.perf_counter_ns(),
        )
        _current.set(record)

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.ttfb_ms = (time.perf_counter_ns() - record.started_ns) / 1e6
            await send(message)

        try:
            await self._app(scope, receive, timed_send)
        finally:
            record.wall_ms = (time.perf_counter_ns() - record.started_ns) / 1e6
            record.route = _route_template(scope)
            PROBE.add_request(record)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tapped_receive() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                PROBE.start(self._service)
            elif message["type"] == "lifespan.shutdown":
                PROBE.write()
            return message

        await self._app(scope, tapped_receive, send)


def with_truth(app: ASGIApp, service: str) -> ASGIApp:
    """Wrap an application with the probe unless ``LAB_TRUTH=off``.

    What has been imported is frozen in any mode: before 3.14 a full collection of those objects
    takes 20 to 40 ms, a pause that no case is about and that would hit healthy routes.
    """
    gc.collect()
    gc.freeze()
    return app if MODE == "off" else _ProbeApp(app, service)
