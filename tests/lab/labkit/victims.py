# SPDX-License-Identifier: Apache-2.0
"""Innocent routes every lab service mounts: they only ever suffer."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

router = APIRouter(tags=["victims"])


@router.get("/ping")
async def ping() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/tick")
async def tick() -> dict[str, str]:
    await asyncio.sleep(0.01)
    return {"status": "ok"}
