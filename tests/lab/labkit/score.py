# SPDX-License-Identifier: Apache-2.0
"""Scores a profiler's JSON reports against ``expectations.json``.

    python3 -m labkit.run --truth lite --attempts 1 \\
        --attach 'loopscope attach -p {pid} --force -o out/{case}.json'
    python3 -m labkit.score --reports out [--kinds KIND ...] [--only SERVER_OR_CASE ...] [--quick]

A report is the object that ``loopscope attach --json`` prints. A bad case passes when one
finding has the expected kind, route, method and culprit (file, function, line within two), a
duration in range, the victims, and the pool, peer and calls per request where the case names
them, and nothing that must not be reported is reported. A good case passes when nothing listed
is reported for it. No case passes on a report that shows no step of any loop, or lost events.
The last line is the score; the exit status is 0 only when every case passes.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from labkit.model import STALL_KINDS, quick

LINE_SLACK = 2
#: Measured ranges are widened by this share and this many milliseconds.
DURATION_SLACK = (0.1, 2.0)
#: Kinds that not every request pays for: the longest one has to be in range.
OCCASIONAL = {"gc_pause", "gil_contention"}
#: Kinds whose finding names the address of a peer.
PEER_KINDS = {"slow_dependency", "n_plus_one"}
#: Its size depends on the number of CPUs; the case gives a lower bound.
DEFAULT_EXECUTOR = "executor:asyncio"
#: A websocket has no method; its handshake is a GET.
SOCKET_METHODS = {"WS", "WEBSOCKET", "GET", None}
#: Before 3.12 a comprehension has a frame of its own, a generator expression has one for ever.
INLINE = re.compile(r"(\.<locals>)?\.?<(listcomp|dictcomp|setcomp|genexpr)>")
CONVERTER = re.compile(r"\{(\w+):\w+\}")

Finding = dict[str, Any]


def same_route(one: str | None, other: str | None) -> bool:
    return (one and CONVERTER.sub(r"{\1}", one)) == (other and CONVERTER.sub(r"{\1}", other))


def same_file(wanted: str, got: Any) -> bool:
    """Whether a path, absolute or relative, ends with the components of another."""
    tail = wanted.split("/")
    return isinstance(got, str) and posixpath.normpath(got).split("/")[-len(tail) :] == tail


def same_function(wanted: dict[str, Any], got: dict[str, Any]) -> bool:
    """Whether a frame runs the wanted function or a comprehension inside of it."""
    function = INLINE.sub("", str(got.get("function")))
    qualname = INLINE.sub("", str(got.get("qualname") or got.get("function")))
    only_inline = not function and not qualname  # 3.10 has no qualified names
    return only_inline or function == wanted["function"] or qualname == wanted["qualname"]


def same_name(wanted: str, got: Any) -> bool:
    """Whether a task or thread is called so: coroutines have ``_`` where task names have ``-``."""
    return str(got or "").replace("-", "_").startswith(wanted.replace("-", "_"))


def number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def culprit_problem(wanted: dict[str, Any], got: dict[str, Any] | None) -> str | None:
    if got is None:
        return "no culprit named"
    if not same_file(wanted["file"], got.get("file")):
        return f"culprit file {got.get('file')}, not {wanted['file']}"
    if not same_function(wanted, got):
        return f"culprit {got.get('qualname')}, not {wanted['qualname']}"
    if abs((number(got.get("line")) or 0) - wanted["line"]) > LINE_SLACK:
        return f"culprit line {got.get('line')}, not {wanted['line']}"
    return None


def place_problem(case: dict[str, Any], finding: Finding) -> str | None:
    """Route and method, or the owner of work that belongs to no request."""
    truth = case["truth"]
    route, method = finding.get("route"), finding.get("method")
    if truth["kind"] == "config":
        return None
    if truth["route"] is not None:
        if not same_route(truth["route"], route):
            return f"route {route}, not {truth['route']}"
        methods = SOCKET_METHODS if case["method"] == "WS" else {case["method"]}
        return None if method in methods else f"method {method}, not {case['method']}"
    if route is not None:
        spawning = truth.get("also_route")
        return None if same_route(route, spawning) else f"route {route} for work of no request"
    owner = finding.get("owner") or {}
    for what, wanted in truth["owner"].items():
        if wanted is not None and not same_name(wanted, owner.get(what)):
            return f"owner {owner}, not {what} {wanted}"
    return None


def duration_problem(truth: dict[str, Any], finding: Finding) -> str | None:
    share, constant = DURATION_SLACK
    low = truth["duration_ms"]["min"] * (1 - share) - constant
    high = truth["duration_ms"]["max"] * (1 + share) + constant
    measured = finding.get("duration_ms") or {}
    values = [number(measured.get("p50"))]
    if truth["kind"] in OCCASIONAL:
        values.append(number(measured.get("max")))
    if any(value is not None and low <= value <= high for value in values):
        return None
    return f"duration {measured} outside {truth['duration_ms']}"


def pool_problem(wanted: dict[str, Any], finding: Finding) -> str | None:
    size = number((finding.get("pool") or {}).get("size"))
    least = wanted["name"] == DEFAULT_EXECUTOR and size is not None and size >= wanted["size"]
    return None if least or size == wanted["size"] else f"pool size {size}, not {wanted['size']}"


def detail_problems(truth: dict[str, Any], finding: Finding) -> list[str]:
    problems = []
    named = [victim.get("route") for victim in finding.get("victims") or []]
    for victim in truth["victims"]:
        if not any(same_route(victim, route) for route in named):
            problems.append(f"victim {victim} not named")
    if "pool" in truth:
        problem = pool_problem(truth["pool"], finding)
        problems += [problem] if problem else []
    if "calls_per_request" in truth and finding["kind"] == "n_plus_one":
        calls = number(finding.get("calls_per_request")) or 0
        if calls < truth["calls_per_request"]["min"]:
            problems.append(f"{calls} calls per request")
    if truth["kind"] in PEER_KINDS and finding["kind"] in PEER_KINDS and "peer" in truth:
        address = rf"(?<![\d.]){re.escape(truth['peer'])}(?!\d)"
        if not re.search(address, str(finding.get("peer"))):
            problems.append(f"peer {finding.get('peer')}, not {truth['peer']}")
    if truth["kind"] != "config":
        problem = duration_problem(truth, finding)
        problems += [problem] if problem else []
    return problems


def forbidden(case: dict[str, Any], findings: list[Finding]) -> list[str]:
    """Findings that are wrong whatever else the report says."""
    rules = [(case["route"], {*case["must_not_report"]})]
    if case["truth"] == "none":
        # A stall that is blamed on nobody is still one that did not happen.
        rules.append((None, {*case["must_not_report"]} & {*STALL_KINDS}))
    else:
        truth = case["truth"]
        # Companions of the load and victims wait for the culprit: they are never culprits.
        others = {lane["path"] for lane in case["load"].get("with", [])} | {*truth["victims"]}
        expected = {truth["kind"], *truth["also_accept"]}
        wrong = expected | {*STALL_KINDS}
        if truth["kind"] == "gc_pause":
            wrong -= expected  # whoever allocates next may start the collection
        wrong |= {*truth.get("victims_must_not_report", [])}
        rules += [(other, wrong) for other in sorted(others)]
    return [
        f"wrongly reports {finding['kind']} for {route or 'no route'}"
        for route, kinds in rules
        for finding in findings
        if finding["kind"] in kinds and same_route(route, finding.get("route"))
    ]


def judge(case: dict[str, Any], findings: list[Finding]) -> tuple[bool, list[str]]:
    """Was the blame right, and everything that is wrong with the report."""
    problems = forbidden(case, findings)
    truth = case["truth"]
    if truth == "none":
        return not problems, problems
    tried: list[tuple[list[str], list[str]]] = []
    for finding in findings:
        if finding["kind"] in {truth["kind"], *truth["also_accept"]}:
            blame = [place_problem(case, finding)]
            if truth["culprit"] is not None:
                blame.append(culprit_problem(truth["culprit"], finding.get("culprit")))
            wrong = [problem for problem in blame if problem]
            tried.append((wrong, detail_problems(truth, finding)))
    if not tried:
        missing = [f"no {truth['kind']} reported"] if truth["required"] else []
        return not missing and not problems, missing + problems
    blame_wrong, details = min(tried, key=lambda entry: (len(entry[0]), len(entry[1])))
    return not blame_wrong and not problems, blame_wrong + details + problems


def attention_problem(report: dict[str, Any]) -> str | None:
    """Silence counts only from a profiler that looked: it saw loops take steps and lost nothing."""
    loops = [loop for target in report.get("targets", []) for loop in target.get("loops", [])]
    if not any(number(loop.get("steps")) for loop in loops):
        return "saw no step of any loop"
    lost = sum(number(n) or 0 for n in (report.get("loss") or {}).get("lost", {}).values())
    return f"lost {lost:.0f} events" if lost else None


def findings_of(report: Any) -> list[Finding]:
    """The findings of a report; raises when it is not one."""
    findings = report["findings"]
    if not all(isinstance(finding, dict) and "kind" in finding for finding in findings):
        raise ValueError("a finding without a kind")
    return findings


def choose(suite: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = {*arguments.only} | (quick(suite["cases"]) if arguments.quick else set())
    chosen = []
    for case in suite["cases"]:
        truths = [case["truth"]]
        if case["truth"] == "none":
            truths = [c["truth"] for c in suite["cases"] if case["id"] in c["compare_with"]]
        kinds = {truth["kind"] for truth in truths if isinstance(truth, dict)}
        if arguments.kinds and not kinds & {*arguments.kinds}:
            continue
        if not wanted or {case["id"], case["server"]} & wanted:
            chosen.append(case)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", type=Path, required=True, help="folder of CASE.json")
    parser.add_argument("--kinds", nargs="*", default=[], help="cases of these kinds, and twins")
    parser.add_argument("--only", nargs="*", default=[], metavar="SERVER_OR_CASE")
    parser.add_argument("--quick", action="store_true", help="the cases of labkit.run --quick")
    parser.add_argument("--json", type=Path, help="write the verdicts to this file")
    arguments = parser.parse_args()
    suite = json.loads(Path("expectations.json").read_text())
    verdicts: dict[str, Any] = {}
    for case in choose(suite, arguments):
        path = arguments.reports / f"{case['id']}.json"
        try:
            report = json.loads(path.read_text())
            blame, problems = judge(case, findings_of(report))
            unseen = attention_problem(report)
            problems += [unseen] if unseen else []
        except OSError as error:
            blame, problems = False, [f"no report: {error.strerror}"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            blame, problems = False, [f"not a report: {error!r}"]
        verdicts[case["id"]] = {"blame": blame, "problems": problems, "variant": case["variant"]}
        state = "pass" if not problems else "part" if blame else "FAIL"
        print(f"{state} {case['variant']:4} {case['id']:28} {'; '.join(problems)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(verdicts, indent=1) + "\n")
    parts = []
    for variant in ("bad", "good"):
        mine = [v for v in verdicts.values() if v["variant"] == variant]
        passed = sum(not v["problems"] for v in mine)
        blamed = sum(v["blame"] for v in mine)
        parts.append(f"{variant} {passed}/{len(mine)} (blame right {blamed})")
    print("; ".join(parts))
    sys.exit(0 if verdicts and all(not v["problems"] for v in verdicts.values()) else 1)


if __name__ == "__main__":
    main()
