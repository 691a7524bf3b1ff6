# SPDX-License-Identifier: Apache-2.0
"""Checks a case against what the probe measured. Knows nothing about profilers."""

from __future__ import annotations

from typing import Any

from labkit.score import same_function

#: Profilers call a step of 20 ms a stall: good cases stay below.
GOOD_STALL_MS = 18.0
#: The same where many requests come at once to a pool, or where the CPU is short.
CROWD_STALL_MS = 30.0
GOOD_CALLS = 3.0
SLACK = 0.85
LINE_SLACK = 2

Window = dict[str, Any]


def _route(windows: list[Window], key: str) -> dict[str, Any] | None:
    """The route as seen by the process in which it fared worst."""
    seen = [window["routes"][key] for window in windows if key in window["routes"]]
    return max(seen, key=lambda route: route["max_step_ms"]["max"], default=None)


def _worst(windows: list[Window], *path: str) -> float:
    worst = 0.0
    for window in windows:
        value: Any = window
        for name in path:
            value = value.get(name, {}) if isinstance(value, dict) else {}
        worst = max(worst, float(value or 0.0))
    return worst


def measure(
    case: dict[str, Any], windows: list[Window], client: list[dict[str, Any]]
) -> dict[str, Any]:
    key = f"{case['method']} {case['route']}"
    route = _route(windows, key) or {}
    pick = lambda name, which: route.get(name, {}).get(which, 0.0)  # noqa: E731
    measured: dict[str, Any] = {
        "route_seen": bool(route),
        "requests": pick("wall_ms", "n"),
        "wall_p50_ms": pick("wall_ms", "p50"),
        "wall_max_ms": pick("wall_ms", "max"),
        "step_p50_ms": pick("max_step_ms", "p50"),
        "step_max_ms": pick("max_step_ms", "max"),
        "step_cpu_p50_ms": pick("max_step_cpu_ms", "p50"),
        "step_cpu_max_ms": pick("max_step_cpu_ms", "max"),
        "loop_p50_ms": pick("loop_ms", "p50"),
        "lag_p95_ms": _worst(windows, "loop_lag_ms", "p95"),
        "lag_max_ms": _worst(windows, "loop_lag_ms", "max"),
        "starved_ms": _worst(windows, "starved_ms"),
        "gc_max_ms": _worst(windows, "gc_pauses_ms", "max"),
        "status": route.get("status", {}),
        "client_p50_ms": [lane["p50_ms"] for lane in client],
        "client_max_ms": [lane["max_ms"] for lane in client],
        "client_statuses": [lane["statuses"] for lane in client],
    }
    pools = {
        name: gauge
        for window in windows
        for name, gauge in window["pools"].items()
        if gauge["waiting"] or gauge["in_use"]
    }
    if pools:
        measured["pools"] = pools
    if route.get("counts_per_request"):
        measured["calls_p50"] = {
            name: spread["p50"] for name, spread in route["counts_per_request"].items()
        }
    tasks = {name: ms for window in windows for name, ms in window["task_steps_ms"].items()}
    if tasks:
        measured["tasks_outside_requests_ms"] = tasks
    victims = case["truth"]["victims"] if isinstance(case["truth"], dict) else []
    if victims:
        # A victim waits in the socket buffer, before the application sees it: only the
        # client knows how long it waited.
        measured["victims_client_max_ms"] = {
            name: max((lane["max_ms"] for lane in client if lane["path"] == name), default=0.0)
            for name in victims
        }
    return measured


def _statuses_ok(case: dict[str, Any], measured: dict[str, Any]) -> bool:
    allowed = set(case["load"].get("expect", ["200", "201", "202", "message"]))
    return all(set(statuses) <= allowed for statuses in measured["client_statuses"])


def check(case: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Reasons why the measurement contradicts the case; empty when it agrees."""
    problems: list[str] = []

    def need(condition: bool, reason: str) -> None:
        if not condition:
            problems.append(reason)

    need(measured["route_seen"], "route not seen under its template")
    need(_statuses_ok(case, measured), f"statuses {measured['client_statuses']}")
    truth = case["truth"]
    if truth == "none":
        # Run-queue delay is subtracted, but not to the millisecond where there is much of it.
        limit = CROWD_STALL_MS if case["load"].get("starved_ms") else GOOD_STALL_MS
        need(measured["step_max_ms"] < limit, f"step {measured['step_max_ms']} ms")
        need(measured["lag_max_ms"] < limit, f"loop lag {measured['lag_max_ms']} ms")
        waiting = {n: g for n, g in measured.get("pools", {}).items() if g["waiting"]}
        if case["load"].get("pool_may_wait") is None:
            need(not waiting, f"pool waiters {waiting}")
        starved = case["load"].get("starved_ms", 0.0)
        need(measured["starved_ms"] >= starved, f"starved for {measured['starved_ms']} ms only")
        limit = case.get("calls_per_request", {}).get("max", GOOD_CALLS)
        for name, calls in measured.get("calls_p50", {}).items():
            need(calls <= limit, f"{calls} x {name} per request")
        return problems

    low, high = truth["duration_ms"]["min"], truth["duration_ms"]["max"]
    kind = truth["kind"]
    which = "p50" if measured["step_p50_ms"] >= low * SLACK else "max"  # not all requests pay
    step, cpu = measured["step_max_ms"], measured[f"step_cpu_{which}_ms"]
    if kind == "blocking_call" and "loop_ms" in case["load"]:
        on_loop = measured["loop_p50_ms"]
        need(on_loop >= case["load"]["loop_ms"], f"{on_loop} ms on loop")
    elif truth["blocks_loop"] and kind not in ("gil_contention", "gc_pause"):
        outside = max(measured.get("tasks_outside_requests_ms", {}).values(), default=0.0)
        worst = max(step, outside)
        need(worst >= low * SLACK, f"longest step {worst} ms < {low}")
        usual = measured["step_p50_ms"]
        need(min(usual, worst) <= high, f"step p50 {usual} > {high}")
        need(measured["lag_max_ms"] >= low * 0.6, f"loop lag {measured['lag_max_ms']} ms")
        if {kind, *truth["also_accept"]} >= {"cpu_stall", "blocking_call"}:
            pass  # on CPU inside a system call: either name is right
        elif kind == "cpu_stall":
            need(cpu >= 0.5 * measured[f"step_{which}_ms"], f"only {cpu} ms on CPU")
        elif step >= low * SLACK:
            need(cpu <= 0.5 * measured[f"step_{which}_ms"], f"{cpu} ms on CPU")
    elif kind == "gc_pause":
        need(measured["gc_max_ms"] >= low * SLACK, f"gc pause {measured['gc_max_ms']} ms")
        need(measured["lag_max_ms"] >= low * 0.6, f"loop lag {measured['lag_max_ms']} ms")
    elif kind == "gil_contention":
        need(measured["lag_max_ms"] >= low, f"loop lag {measured['lag_max_ms']} ms")
    elif kind == "config":
        need(bool(measured.get("config")), "misconfiguration not visible in the process list")
    else:
        need(measured["step_max_ms"] < CROWD_STALL_MS, f"step {measured['step_max_ms']} ms")
        need(low * SLACK <= measured["wall_max_ms"], f"wall max {measured['wall_max_ms']} < {low}")
        need(measured["wall_p50_ms"] <= high, f"wall p50 {measured['wall_p50_ms']} > {high}")
    if "pool" in truth:
        gauge = measured.get("pools", {}).get(truth["pool"]["name"])
        need(gauge is not None, f"no gauge {truth['pool']['name']}")
        if gauge is not None:
            peak = truth["pool"]["peak_waiters"]
            need(
                peak["min"] <= gauge["waiting"] <= peak["max"],
                f"{gauge['waiting']} waiters, expected {peak}",
            )
            need(
                gauge["in_use"] >= truth["pool"]["size"],
                f"pool size {gauge['in_use']} != {truth['pool']['size']}",
            )
    if "calls_per_request" in truth:
        wanted = truth["calls_per_request"]
        seen = measured.get("calls_p50", {}).get(wanted["name"], 0)
        need(seen >= wanted["min"], f"{seen} x {wanted['name']} per request")
    for name, wall in measured.get("victims_client_max_ms", {}).items():
        need(wall >= 0.4 * low, f"victim {name} only waited {wall} ms")
    return problems


def has_culprit_line(case: dict[str, Any]) -> bool:
    truth = case["truth"]
    return (
        isinstance(truth, dict)
        and truth["culprit"] is not None
        and truth["application_frame_on_stack"]
    )


def check_culprit(case: dict[str, Any], windows: list[Window]) -> tuple[list[str], list[Any]]:
    """Was the declared culprit line really where the code was?"""
    truth, culprit = case["truth"], case["truth"]["culprit"]
    held_loop = truth["blocks_loop"] and truth["kind"] not in ("gil_contention", "gc_pause")
    sources = ["loop"] if held_loop and truth["required"] else ["tasks", "threads", "loop"]
    file = culprit["file"].removeprefix("services/")
    seen: list[Any] = []
    top: list[Any] = []
    for window in windows:
        for source in sources:
            sites = window["sites"][source]
            top += [[source, *site] for site in sites[:3]]
            seen += [
                [source, *site]
                for site in sites
                if site[0] == file
                and same_function(culprit, {"function": site[1], "qualname": site[1]})
                and abs(site[2] - culprit["line"]) <= LINE_SLACK
            ]
    if not seen:
        return [f"culprit line never seen; top {top}"], []
    busiest = max((site[-1] for site in top if site[0] == "loop"), default=0)
    if held_loop and busiest > 2 * sum(site[-1] for site in seen):
        return [f"another line dominates: {top}"], seen
    return [], seen
