# SPDX-License-Identifier: Apache-2.0
"""Checks the scorer itself with synthetic reports, without running anything.

    python3 -m labkit.selftest

From each case of ``expectations.json`` it makes the report of a perfect profiler, which has to
pass, and reports with one mistake each, which have to fail.
"""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labkit.model import STALL_KINDS
from labkit.score import (
    LINE_SLACK,
    OCCASIONAL,
    PEER_KINDS,
    attention_problem,
    findings_of,
    judge,
)

Case = dict[str, Any]
Finding = dict[str, Any]
#: Mistakes by name: a finding is changed, or a wrong one is added; None where it cannot be made.
Mistake = Callable[[Case, list[Finding]], list[Finding] | None]
FOLDER = "/srv/app"


def perfect(case: Case) -> list[Finding]:
    """What a profiler without a fault reports for a case."""
    truth = case["truth"]
    if truth == "none":
        return []
    low, high = truth["duration_ms"]["min"], truth["duration_ms"]["max"]
    middle = (low + high) / 2
    culprit = truth["culprit"]
    finding: Finding = {
        "kind": truth["kind"],
        "severity": "critical",
        "route": truth["route"],
        "method": case["method"] if truth["route"] is not None else None,
        "culprit": culprit and {**culprit, "file": f"{FOLDER}/{culprit['file']}"},
        "owner": truth.get("owner", {"task": None, "thread": None}),
        "blocks_loop": truth["blocks_loop"],
        "count": 10,
        "duration_ms": {"min": low, "p50": middle, "p99": high, "max": high, "total": 10 * middle},
        "victims": [
            {"route": route, "method": "GET", "requests": 1, "delay_ms": {"max": low, "total": low}}
            for route in truth["victims"]
        ],
        "peer": truth.get("peer"),
        "pool": "pool" in truth and {"name": truth["pool"]["name"], "size": truth["pool"]["size"]}
        or None,
        "calls_per_request": truth.get("calls_per_request", {}).get("min"),
    }
    return [finding]


def changed(found: list[Finding], **values: Any) -> list[Finding]:
    """The same findings with the first one altered."""
    first = copy.deepcopy(found[0])
    for name, value in values.items():
        if isinstance(first[name], dict) and isinstance(value, dict):
            first[name] |= value
        else:
            first[name] = value
    return [first, *found[1:]]


# -- mistakes in the report of a bad case ---------------------------------------------------


def silent(case: Case, found: list[Finding]) -> list[Finding] | None:
    return [] if case["truth"]["required"] else None


def wrong_kind(case: Case, found: list[Finding]) -> list[Finding] | None:
    return changed(found, kind="cpu_starvation") if case["truth"]["required"] else None


def wrong_route(case: Case, found: list[Finding]) -> list[Finding] | None:
    return None if case["truth"]["kind"] == "config" else changed(found, route="/elsewhere")


def raw_path(case: Case, found: list[Finding]) -> list[Finding] | None:
    route = case["truth"]["route"]
    if route is None or "{" not in route:
        return None
    return changed(found, route=case["load"]["path"].replace("{n}", "1"))


def wrong_method(case: Case, found: list[Finding]) -> list[Finding] | None:
    if case["truth"]["route"] is None or case["truth"]["kind"] == "config":
        return None
    return changed(found, method="DELETE")


def wrong_owner(case: Case, found: list[Finding]) -> list[Finding] | None:
    if case["truth"]["route"] is not None:
        return None
    return changed(found, owner={"task": "someone-else", "thread": "someone-else"})


def no_culprit(case: Case, found: list[Finding]) -> list[Finding] | None:
    return changed(found, culprit=None) if case["truth"]["culprit"] else None


def wrong_file(case: Case, found: list[Finding]) -> list[Finding] | None:
    if not case["truth"]["culprit"]:
        return None
    return changed(found, culprit={"file": f"{FOLDER}/services/other.py"})


def file_of_another_folder(case: Case, found: list[Finding]) -> list[Finding] | None:
    """``.../microservices/x.py`` is not ``services/x.py``."""
    if not case["truth"]["culprit"]:
        return None
    return changed(found, culprit={"file": f"{FOLDER}/micro{case['truth']['culprit']['file']}"})


def wrong_function(case: Case, found: list[Finding]) -> list[Finding] | None:
    if not case["truth"]["culprit"]:
        return None
    return changed(found, culprit={"function": "run", "qualname": "Context.run"})


def wrong_line(case: Case, found: list[Finding]) -> list[Finding] | None:
    culprit = case["truth"]["culprit"]
    return culprit and changed(found, culprit={"line": culprit["line"] + LINE_SLACK + 1})


def too_long(case: Case, found: list[Finding]) -> list[Finding] | None:
    high = case["truth"]["duration_ms"]["max"] * 1.2 + 5
    if case["truth"]["kind"] == "config":
        return None
    return changed(found, duration_ms={"p50": high, "p99": high, "max": high})


def too_short(case: Case, found: list[Finding]) -> list[Finding] | None:
    low = case["truth"]["duration_ms"]["min"] * 0.8 - 5
    if low <= 0:
        return None
    spread = {"p50": low, "max": low} if case["truth"]["kind"] in OCCASIONAL else {"p50": low}
    return changed(found, duration_ms=spread)


def no_duration(case: Case, found: list[Finding]) -> list[Finding] | None:
    return None if case["truth"]["kind"] == "config" else changed(found, duration_ms=None)


def victim_missing(case: Case, found: list[Finding]) -> list[Finding] | None:
    return changed(found, victims=[]) if case["truth"]["victims"] else None


def victim_as_culprit(case: Case, found: list[Finding]) -> list[Finding] | None:
    if not case["truth"]["victims"] or case["truth"]["kind"] == "gc_pause":
        return None
    return [*found, *changed(found, route=case["truth"]["victims"][0], victims=[])]


def companion_as_culprit(case: Case, found: list[Finding]) -> list[Finding] | None:
    lanes = case["load"].get("with", [])
    if not lanes or case["truth"]["kind"] == "gc_pause":
        return None
    return [*found, *changed(found, route=lanes[-1]["path"], victims=[])]


def victim_slandered(case: Case, found: list[Finding]) -> list[Finding] | None:
    kinds = case["truth"].get("victims_must_not_report")
    if not kinds:
        return None
    return [*found, *changed(found, kind=kinds[-1], route=case["truth"]["victims"][0])]


def wrong_pool(case: Case, found: list[Finding]) -> list[Finding] | None:
    if "pool" not in case["truth"]:
        return None
    return changed(found, pool={"size": case["truth"]["pool"]["size"] - 1})


def no_pool(case: Case, found: list[Finding]) -> list[Finding] | None:
    return changed(found, pool=None) if "pool" in case["truth"] else None


def wrong_peer(case: Case, found: list[Finding]) -> list[Finding] | None:
    if case["truth"]["kind"] not in PEER_KINDS or "peer" not in case["truth"]:
        return None
    return changed(found, peer=f"{case['truth']['peer']}9")


def too_few_calls(case: Case, found: list[Finding]) -> list[Finding] | None:
    if "calls_per_request" not in case["truth"]:
        return None
    return changed(found, calls_per_request=case["truth"]["calls_per_request"]["min"] - 1)


def forbidden_kind(case: Case, found: list[Finding]) -> list[Finding] | None:
    """The right finding, and a wrong one beside it."""
    if not case["must_not_report"]:
        return None
    extra = {"kind": case["must_not_report"][0], "route": case["route"], "method": case["method"]}
    return [*found, extra]


# -- mistakes in the report of a good case --------------------------------------------------


def false_alarm(case: Case, found: list[Finding]) -> list[Finding] | None:
    kind = case["must_not_report"][-1]
    return [{"kind": kind, "route": case["route"], "method": case["method"]}]


def anonymous_stall(case: Case, found: list[Finding]) -> list[Finding] | None:
    kinds = [kind for kind in case["must_not_report"] if kind in STALL_KINDS]
    return [{"kind": kinds[0], "route": None, "method": None}] if kinds else None


BAD: list[Mistake] = [
    silent, wrong_kind, wrong_route, raw_path, wrong_method, wrong_owner, no_culprit, wrong_file,
    file_of_another_folder, wrong_function, wrong_line, too_long, too_short, no_duration,
    victim_missing, victim_as_culprit, companion_as_culprit, victim_slandered, wrong_pool, no_pool,
    wrong_peer, too_few_calls, forbidden_kind,
]  # fmt: skip
GOOD: list[Mistake] = [false_alarm, anonymous_stall]


def other_truths(case: Case, found: list[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Reports that say the same in another way: all of them are right."""
    yield "finding of another route", [*found, {"kind": "cpu_stall", "route": "/elsewhere"}]
    yield "kind without a verdict", [*found, {"kind": "cpu_starvation", "route": None}]
    if not found:
        return
    truth, culprit = case["truth"], case["truth"]["culprit"]
    for kind in truth["also_accept"]:
        yield f"as {kind}", changed(found, kind=kind)
    if truth["route"] is None and "also_route" in truth:
        yield "with the spawning route", changed(found, route=truth["also_route"])
    if culprit:
        yield "relative path", changed(found, culprit={"file": culprit["file"]})
        yield "path with a dot", changed(found, culprit={"file": f"./{culprit['file']}"})
        folded = f"{FOLDER}/x/../{culprit['file']}"
        yield "path with dots", changed(found, culprit={"file": folded})
        inner = {"function": "<listcomp>", "qualname": f"{culprit['qualname']}.<locals>.<listcomp>"}
        yield "comprehension", changed(found, culprit=inner)
        nameless = {"function": "<genexpr>", "qualname": None}
        yield "comprehension of 3.10", changed(found, culprit=nameless)
        yield "line within reach", changed(found, culprit={"line": culprit["line"] + LINE_SLACK})
    if truth["route"] and "{" in truth["route"]:
        yield "with a converter", changed(found, route=truth["route"].replace("}", ":path}"))
    if truth.get("peer"):
        yield "peer with its name", changed(found, peer=f"postgres {truth['peer']}")


def main() -> None:
    suite = json.loads(Path("expectations.json").read_text())
    tally: Counter[str] = Counter()
    wrong: list[str] = []

    def expect(case: Case, name: str, report: list[Finding], passes: bool) -> None:
        findings = findings_of(json.loads(json.dumps({"findings": report})))
        _, problems = judge(case, findings)
        tally[name] += 1
        if passes == bool(problems):
            outcome = f"failed: {problems}" if problems else "passed"
            wrong.append(f"{case['id']}: {name} {outcome}")

    for case in suite["cases"]:
        found = perfect(case)
        expect(case, "perfect", found, True)
        silence_is_right = case["truth"] == "none" or not case["truth"]["required"]
        expect(case, "empty", [], silence_is_right)
        for name, report in other_truths(case, found):
            expect(case, name, report, True)
        for mistake in BAD if case["variant"] == "bad" else GOOD:
            report = mistake(case, copy.deepcopy(found))
            if report is not None:
                expect(case, mistake.__name__.replace("_", " "), report, False)
    loop = {"loops": [{"tid": 1, "steps": 3}]}
    for name, report, looked in (
        ("looked", {"targets": [{"loops": []}, loop], "loss": {"lost": {"ring_full": 0}}}, True),
        ("saw no loop", {"targets": [{"loops": [{"tid": 1, "steps": 0}]}]}, False),
        ("saw nothing", {}, False),
        ("lost events", {"targets": [loop], "loss": {"lost": {"ring_full": 2}}}, False),
    ):
        tally[name] += 1
        if looked == bool(attention_problem(report)):
            wrong.append(f"attention: {name}")
    for mistake in [*BAD, *GOOD]:
        if not tally[mistake.__name__.replace("_", " ")]:
            wrong.append(f"no case tests {mistake.__name__}")
    print(", ".join(f"{name} {count}" for name, count in tally.items()))
    print(f"{tally.total()} reports judged, {len(wrong)} wrongly")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
