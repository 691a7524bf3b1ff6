# SPDX-License-Identifier: Apache-2.0
"""What a service's pools say of themselves, sampled all the time: /numbers, /reset."""

import asyncio
import contextlib
from collections import deque

from fastapi import APIRouter

SAMPLE_S = 0.002
#: So many samples in a row are more than a moment: a thread may be late to its work.
LASTING = 10

numbers = {}
last = {}
router = APIRouter()


def note(name, size, in_use, waiting):
    """The most that were seen, and the most that waited for longer than a moment."""
    seen = numbers.setdefault(name, {"size": size, "in_use": 0, "waiting": 0, "lasting": 0})
    seen["in_use"] = max(seen["in_use"], in_use)
    seen["waiting"] = max(seen["waiting"], waiting)
    samples = last.setdefault(name, deque(maxlen=LASTING))
    samples.append(waiting)
    if len(samples) == LASTING:
        seen["lasting"] = max(seen["lasting"], min(samples))


@contextlib.asynccontextmanager
async def sampling(note_all):
    async def sample():
        while True:
            note_all()
            await asyncio.sleep(SAMPLE_S)

    sampler = asyncio.create_task(sample())
    yield
    sampler.cancel()


@router.get("/numbers")
async def all_numbers():
    return numbers


@router.get("/reset")
async def reset():
    numbers.clear()
