# SPDX-License-Identifier: Apache-2.0
"""Where the code really is: an independent check of the culprit lines.

A sampling thread looks at the Python frames of every thread; the heartbeat looks at the
await chain of every task. Only the innermost frame of the application (a file below
``services/``) is kept.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

SERVICES = str(Path.cwd() / "services")
PERIOD_S = 0.005
STALLED_AFTER_S = 0.02
SUSPENDABLE = (CoroutineType, AsyncGeneratorType, GeneratorType)

Site = tuple[str, str, int]


@dataclass(slots=True)
class Sites:
    """Innermost application frames, by how they were seen."""

    loop: Counter[Site] = field(default_factory=Counter)
    threads: Counter[Site] = field(default_factory=Counter)
    tasks: Counter[Site] = field(default_factory=Counter)

    def report(self) -> dict[str, list[list[Any]]]:
        return {
            name: [[*site, seen] for site, seen in getattr(self, name).most_common(12)]
            for name in ("loop", "threads", "tasks")
        }


def _site(frame: FrameType) -> Site | None:
    code = frame.f_code
    if not code.co_filename.startswith(SERVICES):
        return None
    name = getattr(code, "co_qualname", code.co_name)  # 3.10 has none
    return code.co_filename[len(SERVICES) + 1 :], name, frame.f_lineno or 0


def innermost(frame: FrameType | None) -> Site | None:
    while frame is not None:
        site = _site(frame)
        if site is not None:
            return site
        frame = frame.f_back
    return None


def _suspended(thing: Any) -> tuple[FrameType | None, Any]:
    """The frame of a suspended coroutine or generator, and what it waits for."""
    if isinstance(thing, CoroutineType):
        return thing.cr_frame, thing.cr_await
    if isinstance(thing, AsyncGeneratorType):
        return thing.ag_frame, thing.ag_await
    if isinstance(thing, GeneratorType):
        return thing.gi_frame, thing.gi_yieldfrom
    for inner in gc.get_referents(thing):  # asend(), coroutine wrappers
        if isinstance(inner, SUSPENDABLE):
            return None, inner
    return None, None


def awaiting(task: asyncio.Task[Any]) -> Site | None:
    found: Site | None = None
    thing: Any = task.get_coro()
    for _ in range(200):
        frame, waits_for = _suspended(thing)
        if frame is not None:
            found = _site(frame) or found
        if waits_for is None or isinstance(waits_for, asyncio.Future):
            break
        thing = waits_for
    return found


class Sampler(threading.Thread):
    """Tallies frames into the sites of the current case."""

    def __init__(self) -> None:
        super().__init__(name="lab-sampler", daemon=True)
        self.sites = Sites()
        self.last_beat = time.perf_counter()
        self._loop_thread = threading.get_ident()

    def beat(self) -> None:
        """Called on the loop, between two steps."""
        self.last_beat = time.perf_counter()
        for task in asyncio.all_tasks():
            site = awaiting(task)
            if site is not None:
                self.sites.tasks[site] += 1

    def run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            stalled = time.perf_counter() - self.last_beat > STALLED_AFTER_S
            for thread, frame in sys._current_frames().items():
                if thread == self.ident:
                    continue
                if thread == self._loop_thread and not stalled:
                    continue
                site = innermost(frame)
                if site is not None:
                    tally = self.sites.loop if thread == self._loop_thread else self.sites.threads
                    tally[site] += 1
