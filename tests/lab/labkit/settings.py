# SPDX-License-Identifier: Apache-2.0
"""Addresses shared by the lab, read once from the environment (``LAB_PG_PORT`` and so on).

Standard library only: building, scoring and starting the peers need no virtual environment.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class LabSettings:
    """Every peer a lab service may talk to. All of them are on loopback."""

    host: str = "127.0.0.1"
    service_port: int = 28080
    pg_port: int = 15432
    pg_user: str = "lab"
    pg_database: str = "lab"
    redis_port: int = 16379
    fast_port: int = 18101
    slow_port: int = 18102
    smtp_port: int = 18125
    state_dir: str = str(Path(tempfile.gettempdir()) / "profiler-lab")

    @property
    def pg_dsn(self) -> str:
        return f"postgresql://{self.pg_user}@{self.host}:{self.pg_port}/{self.pg_database}"

    @property
    def sqlalchemy_async_url(self) -> str:
        return f"postgresql+asyncpg://{self.pg_user}@{self.host}:{self.pg_port}/{self.pg_database}"

    @property
    def sqlalchemy_sync_url(self) -> str:
        return f"postgresql+psycopg2://{self.pg_user}@{self.host}:{self.pg_port}/{self.pg_database}"

    @property
    def redis_url(self) -> str:
        return f"redis://{self.host}:{self.redis_port}/0"

    @property
    def fast_url(self) -> str:
        return f"http://{self.host}:{self.fast_port}"

    @property
    def slow_url(self) -> str:
        return f"http://{self.host}:{self.slow_port}"


@lru_cache
def get_settings() -> LabSettings:
    given = {
        field.name: type(field.default)(os.environ[name])
        for field in fields(LabSettings)
        if (name := f"LAB_{field.name.upper()}") in os.environ
    }
    return LabSettings(**given)
