# SPDX-License-Identifier: Apache-2.0
"""Vocabulary used by ``cases.py`` to declare servers and expectations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "blocking_call",
    "cpu_stall",
    "gc_pause",
    "gil_contention",
    "threadpool_exhaustion",
    "executor_exhaustion",
    "db_pool_exhaustion",
    "http_pool_exhaustion",
    "slow_dependency",
    "slow_di_dependency",
    "n_plus_one",
    "log_backpressure",
    "lock_wait",
    "config",
]

#: Findings no request of a well-behaved route may produce.
STALL_KINDS = ["blocking_call", "cpu_stall", "gc_pause", "lock_wait", "log_backpressure"]
POOL_KINDS = [
    "threadpool_exhaustion",
    "executor_exhaustion",
    "db_pool_exhaustion",
    "http_pool_exhaustion",
]
MARKER = re.compile(r"#\s*CULPRIT:\s*(?P<ids>[\w\- ]+)")

Expectation = dict[str, Any]


class MarkerError(LookupError):
    """A case names a culprit that no source line is marked with."""


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, node
            inner = f"{name}." if isinstance(node, ast.ClassDef) else f"{name}.<locals>."
            yield from _functions(node, inner)
        else:
            yield from _functions(node, prefix)


@lru_cache
def culprits(root: Path) -> dict[str, dict[str, Any]]:
    """Every marked line under ``services/``: id -> file, function, qualname, line."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((root / "services").rglob("*.py")):
        source = path.read_text()
        functions = list(_functions(ast.parse(source)))
        for number, line in enumerate(source.splitlines(), start=1):
            match = MARKER.search(line)
            if match is None:
                continue
            owners = [
                (name, node)
                for name, node in functions
                if node.lineno <= number <= node.end_lineno  # type: ignore[attr-defined]
            ]
            qualname = owners[-1][0] if owners else "<module>"
            for case_id in match["ids"].split():
                found[case_id] = {
                    "file": str(path.relative_to(root)),
                    "function": qualname.rsplit(".", 1)[-1],
                    "qualname": qualname,
                    "line": number,
                }
    return found


def load(
    path: str, *, concurrency: int = 4, requests: int = 20, victims: bool = False, **extra: Any
) -> dict[str, Any]:
    """A load description; ``victims`` adds a lane that keeps polling ``/ping``."""
    seconds = extra.get("seconds")
    described: dict[str, Any] = {"path": path, "concurrency": concurrency, **extra}
    if seconds is None:
        described["requests"] = requests
    if victims:
        described.setdefault("with", []).append(lane("/ping", concurrency=2))
    return described


def lane(path: str, **extra: Any) -> dict[str, Any]:
    return {"path": path, "concurrency": 1, "interval_ms": 10, "requests": 80, **extra}


def quick(cases: list[Expectation]) -> set[str]:
    """One bad case of each kind, and the first of its good twins."""
    chosen: dict[str, list[str]] = {}
    for case in cases:
        truth = case["truth"]
        if isinstance(truth, dict) and truth["required"] and case["compare_with"]:
            chosen.setdefault(truth["kind"], [case["id"], case["compare_with"][0]])
    return {case_id for pair in chosen.values() for case_id in pair}


class Suite:
    """Collects the servers and the expectations of one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.servers: dict[str, dict[str, Any]] = {}
        self.cases: list[Expectation] = []
        self._server = ""
        self._theme = ""

    def server(
        self,
        name: str,
        app: str,
        *,
        args: tuple[str, ...] = (),
        command: list[str] | None = None,
        needs: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        stdout: str = "devnull",
        cpu_hogs: int = 0,
    ) -> None:
        """Declare how a theme is served; following cases run against it."""
        self._server = name
        self._theme = app.partition(":")[0].removeprefix("services.").replace(".", "/")
        self.servers[name] = {
            "command": command
            or ["uvicorn", app, "--host", "{host}", "--port", "{port}", "--loop", "{loop}", *args],
            "needs": list(needs),
            "env": env or {},
            "stdout": stdout,
            "cpu_hogs": cpu_hogs,
        }

    def bad(
        self,
        case_id: str,
        route: str,
        kind: Kind,
        *,
        rules: list[str],
        ms: tuple[float, float],
        load: dict[str, Any],
        method: str = "GET",
        good: tuple[str, ...] = (),
        victims: tuple[str, ...] = (),
        peer: str | None = None,
        pool: dict[str, Any] | None = None,
        calls: dict[str, Any] | None = None,
        innermost: str | None = None,
        on_stack: bool = True,
        also_accept: tuple[Kind, ...] = (),
        must_not: tuple[str, ...] = (),
        on_loop: bool | None = None,
        required: bool = True,
        owner: dict[str, str | None] | None = None,
        spawned_by: str | None = None,
        victims_must_not: tuple[str, ...] = (),
        note: str = "",
    ) -> None:
        marked = culprits(self.root).get(case_id)
        if marked is None and kind != "config":
            raise MarkerError(case_id)
        truth: dict[str, Any] = {
            "kind": kind,
            "also_accept": list(also_accept),
            "route": route,
            "culprit": marked,
            "duration_ms": {"min": ms[0], "max": ms[1]},
            "application_frame_on_stack": on_stack,
            "blocks_loop": on_loop
            if on_loop is not None
            else kind in STALL_KINDS or kind == "gil_contention",
            "victims": list(victims),
            "required": required,
        }
        if owner is not None:
            truth |= {"route": None, "owner": owner}
        if spawned_by is not None:
            truth["also_route"] = spawned_by
        if victims_must_not:
            truth["victims_must_not_report"] = list(victims_must_not)
        if innermost is not None:
            truth["innermost_library_frame"] = innermost
        if peer is not None:
            truth["peer"] = peer
        if pool is not None:
            lanes = [load, *load.get("with", [])]
            callers = sum(entry["concurrency"] for entry in lanes)
            fewest = max((load["concurrency"] - pool["size"]) // 2, 1)
            # One or two that are just being served may still be counted as waiting.
            waiters = {"min": fewest, "max": callers - pool["size"] + 2}
            truth["pool"] = {**pool, "peak_waiters": waiters}
        if calls is not None:
            truth["calls_per_request"] = calls
        self._add(case_id, "bad", rules, route, method, load, truth, list(must_not), note, good)

    def good(
        self,
        case_id: str,
        route: str,
        *,
        rules: list[str],
        load: dict[str, Any],
        method: str = "GET",
        must_not: tuple[str, ...] = (),
        note: str = "",
        calls: dict[str, Any] | None = None,
    ) -> None:
        forbidden = list(must_not) or [*STALL_KINDS, *POOL_KINDS, "gil_contention", "n_plus_one"]
        self._add(case_id, "good", rules, route, method, load, "none", forbidden, note, ())
        if calls is not None:
            self.cases[-1]["calls_per_request"] = calls

    def _add(
        self,
        case_id: str,
        variant: str,
        rules: list[str],
        route: str,
        method: str,
        load: dict[str, Any],
        truth: dict[str, Any] | str,
        must_not: list[str],
        note: str,
        good: tuple[str, ...],
    ) -> None:
        if any(case["id"] == case_id for case in self.cases):
            raise ValueError(f"duplicate case {case_id}")
        file = f"services/{self._theme}.py"
        load = {"method": method, **load} if method != "WS" else {"protocol": "ws", **load}
        self.cases.append(
            {
                "id": case_id,
                "variant": variant,
                "seed_rule": rules,
                "server": self._server,
                "file": file,
                "route": route,
                "method": method,
                "load": load,
                "truth": truth,
                "must_not_report": must_not,
                "compare_with": list(good),
                "note": note,
            }
        )

    def as_json(self, verification: dict[str, Any]) -> dict[str, Any]:
        for case in self.cases:
            outcome = verification.get(case["id"], {})
            case["verified"] = {aspect: bool(result["ok"]) for aspect, result in outcome.items()}
            case["measured"] = {
                aspect: result["measured"]
                for aspect, result in outcome.items()
                if aspect != "culprit"
            }
        return {"schema": 1, "servers": self.servers, "cases": self.cases}
