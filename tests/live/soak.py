# SPDX-License-Identifier: Apache-2.0
"""One attach that lasts, while everything comes and goes: `make soak`.

    soak.py [--seconds 1800] [--rate 400] [--workers 3] [--loop uvloop|asyncio]

`loopscope attach` stays on services/churn.py below several workers: workers are killed
and replaced, clients come, go and reset, tasks, threads, executors, processes, modules
and peers begin and end, loops stall.  Its memory must reach a plateau, its descriptors
and threads stay what they are, its CPU time per request must not grow, and the report
must have every request that was answered.  Writes build/soak.json.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import harness
import soak_load as traffic
from servers import Upstream
from soak_load import Load
from venvs import interpreter_with

SAMPLES = 200  # of a whole run, but not more than four a second
SHORTEST_S = 0.25
WARM_UP = 0.25  # of the run
END_SECONDS = 90  # until all that was asked for is answered
#: What it may come to after that, whatever it is for.
MOST_MIB = 512
#: The last half of a run may add this much: a row's 90 KB when its exact values become a
#: histogram, 48 bytes for each second of a loop, the code of modules that come again, and
#: what the allocator has in hand at the moment.
GROWTH_MIB = 2.0
#: Rings that are filled once: origins of calls (3.3 MiB), waiting requests (1.7 MiB).
RINGS_MIB = 5.0
RINGS_FULL_S = 800
#: For each worker that was replaced: its line of the report, its loop's numbers.
WORKER_MIB = 0.03
#: For each occurrence of a finding.  Most are waits for a CPU: steps are kept, 120 bytes
#: each, from shorter waits on than count, in a table that doubles (its half is left to the
#: allocator) until it is full at 65,536.
OCCURRENCE_MIB = 1024 / 2**20
OCCURRENCES_MIB = 1.5 * 65536 * 120 / 2**20
#: Of the target, open for their symbols; NATIVE_IMAGES of src/resolve/native.c.
LIBRARY = "library"
#: One of them comes and goes: sys_enter, while a target makes calls that keep the CPU.
ENTRIES = "anon_inode:bpf_link"
MOST_LIBRARIES = 64
#: A stall as long as that is a finding (from 20 ms on), wherever the clocks were read.
CERTAIN_MS = 22
#: CPU time per request of the last quarter against that of the second.
CPU_GROWTH = 1.3
#: Rows of the report: of all kinds together as many as services/churn.py has things to
#: tell of, and room for what a busy machine adds.
MOST_ROWS = {"routes": 40, "dependencies": 3 * 32 + 8, "pools": 64, "findings": 120}


@dataclass
class Plan:
    seconds: float
    rate: float = 400  # requests per second
    workers: int = 3
    lanes: int = 24  # connections at a time
    kill_s: float = 10.0  # from one worker that has been replaced to the next
    reset_s: float = 0.2
    session_s: float = 0.5
    loop: str = "uvloop"
    growth_mib: float | None = None  # None: what is said above
    cpu_growth: float | None = CPU_GROWTH  # None: too short a run to tell


@dataclass
class Sample:
    """loopscope's own costs at one moment."""

    at_s: float
    requests: int
    killed: int
    rss_mib: float
    pss_mib: float
    threads: int
    cpu_s: float
    descriptors: dict  # kind: how many


@dataclass
class Outcome:
    plan: Plan
    samples: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)
    report: dict | None = None


# ---- /proc -----------------------------------------------------------------------------


def memory_mib(pid):
    """Rss and Pss."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return int(sizes["Rss"]) / 1024, int(sizes["Pss"]) / 1024


def cpu_seconds(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def descriptors(pid):
    """How many there are of each kind: maps, programs, libraries that samples were in."""
    kinds = Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            what = os.readlink(link)
        except FileNotFoundError:
            continue
        kinds[LIBRARY if ".so" in what else re.sub(r"\d{2,}", "", what)] += 1
    return kinds


def sample(run, load, began):
    rss, pss = memory_mib(run.pid)
    return Sample(
        at_s=time.monotonic() - began,
        requests=load.requests,
        killed=len(load.killed),
        rss_mib=rss,
        pss_mib=pss,
        threads=len(os.listdir(f"/proc/{run.pid}/task")),
        cpu_s=cpu_seconds(run.pid),
        descriptors=descriptors(run.pid),
    )


# ---- a run -----------------------------------------------------------------------------


async def watch(outcome, run, load, tell):
    """Samples until the time is over, or something is so wrong that there is no point."""
    plan, began = outcome.plan, time.monotonic()
    while not load.stop.is_set():
        await load.pause(max(plan.seconds / SAMPLES, SHORTEST_S))
        try:
            now = sample(run, load, began)
        except (FileNotFoundError, ProcessLookupError):
            load.wrong.append("loopscope ended")
            break
        outcome.samples.append(now)
        if tell:
            tell(now)
        if now.rss_mib > MOST_MIB:
            load.wrong.append(f"{now.rss_mib:.0f} MiB after {now.at_s:.0f} s")
        if now.at_s >= plan.seconds or now.rss_mib > MOST_MIB:
            break
    load.stop.set()


async def drive(outcome, service, run, tell):
    load = Load(service, run, outcome.plan)
    both = asyncio.gather(load.run(), watch(outcome, run, load, tell))
    await asyncio.wait_for(both, outcome.plan.seconds + END_SECONDS)
    return load


def measure(plan, tell=None):
    outcome = Outcome(plan)
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        service = stack.enter_context(
            harness.Service(
                "churn:app",
                loop=plan.loop,
                interpreter=interpreter_with("uvloop-0.23"),
                arguments=("--workers", plan.workers, "--timeout-graceful-shutdown", 2),
                env={"LOOPSCOPE_UPSTREAM": upstream.port},
            )
        )
        with harness.attached(service, "-v") as run:
            load = asyncio.run(drive(outcome, service, run, tell))
        truth = service.truth("blocking_call")
    outcome.problems += load.wrong
    outcome.report = run.report
    if run.status != 0 or run.report is None:
        outcome.problems.append(f"status {run.status}: {run.stderr[-2000:]}")
    else:
        check_report(outcome, run.report, load)
        check_stalls(outcome, run.report, load, truth)
    check_memory(outcome)
    check_descriptors(outcome)
    check_cpu(outcome)
    return outcome


# ---- what must be true -------------------------------------------------------------------


def part(samples, start, end):
    """Those of a part of the run, at least three."""
    at, upto = int(len(samples) * start), int(len(samples) * end)
    return samples[min(at, len(samples) - 3) : max(upto, at + 3)]


def growth_mib(outcome, replaced):
    """What the last half may add."""
    findings = outcome.report["findings"] if outcome.report else ()
    occurrences = sum(finding["count"] for finding in findings)
    most = GROWTH_MIB + WORKER_MIB * replaced
    most += min(OCCURRENCE_MIB * occurrences, OCCURRENCES_MIB)
    return most + (RINGS_MIB if outcome.plan.seconds < RINGS_FULL_S else 0)


def check_memory(outcome):
    """From the middle of the run to its end."""
    samples = outcome.samples
    if len(samples) < 20:
        outcome.problems.append(f"only {len(samples)} samples")
        return
    middle, last = part(samples, 0.45, 0.55), part(samples, 0.9, 1)
    most = outcome.plan.growth_mib or growth_mib(outcome, last[-1].killed - middle[0].killed)
    for name in ("rss_mib", "pss_mib"):
        before, after = (
            statistics.median(getattr(one, name) for one in group) for group in (middle, last)
        )
        outcome.figures[name] = {
            "warm": samples[int(len(samples) * WARM_UP)].__dict__[name],
            "middle": before, "end": after, "most_growth": most,
        }  # fmt: skip
        if after - before > most:
            outcome.problems.append(
                f"{name} grew from {before:.1f} to {after:.1f} in the last half; "
                f"{most:.1f} MiB are allowed"
            )


def check_descriptors(outcome):
    """What a moment needs is not there in each sample: the least of a while is what stays."""
    samples = outcome.samples
    warm = samples[int(len(samples) * WARM_UP) :]
    if len(warm) < 3:
        return
    threads = {one.threads for one in warm}
    outcome.figures["threads"] = sorted(threads)
    if len(threads) > 1:
        outcome.problems.append(f"it had {sorted(threads)} threads")
    thirds = [part(warm, i / 3, (i + 1) / 3) for i in range(3)]
    kinds = {kind for one in warm for kind in one.descriptors}
    outcome.figures["descriptors"] = {}
    for kind in sorted(kinds):
        least = [min(one.descriptors.get(kind, 0) for one in third) for third in thirds]
        outcome.figures["descriptors"][kind] = least
        if kind == LIBRARY:
            if max(one.descriptors[kind] for one in warm) > MOST_LIBRARIES:
                outcome.problems.append(f"more than {MOST_LIBRARIES} libraries are open")
        elif max(least) - min(least) > (kind == ENTRIES):
            outcome.problems.append(f"descriptors of {kind}, in thirds of the run: {least}")


def cpu_per_1000(group):
    requests = group[-1].requests - group[0].requests
    return (group[-1].cpu_s - group[0].cpu_s) / max(requests, 1) * 1000


def check_cpu(outcome):
    samples = outcome.samples
    if len(samples) < 20:
        return
    early = cpu_per_1000(part(samples, WARM_UP, 0.5))
    late = cpu_per_1000(part(samples, 0.75, 1))
    outcome.figures["cpu_s_per_1000"] = {"second quarter": early, "last quarter": late}
    most = outcome.plan.cpu_growth
    if most is not None and late > early * most:
        outcome.problems.append(
            f"{late * 1e3:.2f} ms of CPU per 1,000 requests, {early * 1e3:.2f} ms before"
        )


def check_counts(outcome, what, told, load):
    """`told` is {kind: number in the report}."""
    for kind, count in told.items():
        least, most = load.least(kind), load.most(kind)
        if not least <= count <= most:
            outcome.problems.append(f"{what} {kind.name}: {count}, not {least} to {most}")


def check_stalls(outcome, report, load, truth):
    """All but those that slept for less than a finding takes, waiting for a CPU instead."""
    stalls, short = Counter(), Counter()
    for finding in report["findings"]:
        if finding["kind"] == "blocking_call":
            stalls[finding["route"]] += finding["count"]
    for line in truth:
        short[line["route"]] += harness.length_ms(line) < CERTAIN_MS
    outcome.figures["short_stalls"] = short.total()
    for kind in (traffic.STALL, traffic.LATE):
        least, most = load.least(kind) - short[kind.name], load.most(kind)
        if not least <= stalls[kind.route] <= most:
            outcome.problems.append(
                f"stalls of {kind.name}: {stalls[kind.route]}, not {least} to {most}"
            )


def check_calls(outcome, report, load):
    """The first threads of a worker may run before what leads from them to requests is known."""
    kinds = (traffic.PEER, traffic.PEER_THREAD)
    calls = Counter()
    for row in report["dependencies"]:
        if row["protocol"] == "http/1.1":
            calls[row["route"]] += row["calls"]
            site = row["call_site"]
            if row["route"] and not (site and site["file"].endswith("/churn.py")):
                outcome.problems.append(f"{row['route']} calls {row['peer']} from {site}")
    unrouted = calls.pop(None, 0)
    outcome.figures["calls_without_route"] = unrouted
    if unrouted > len(load.observed):
        outcome.problems.append(f"{unrouted} calls of no route: {calls}")
    least, most = sum(map(load.least, kinds)), sum(map(load.most, kinds))
    if not least <= calls.total() + unrouted <= most:
        outcome.problems.append(f"calls: {calls} and {unrouted}, not {least} to {most}")


def check_report(outcome, report, load):
    routes = {f"{row['method']} {row['route']}": row["requests"] for row in report["routes"]}
    kinds = (traffic.HELLO, traffic.ITEM, *traffic.KINDS)
    check_counts(outcome, "requests", {k: routes.pop(k.name, 0) for k in kinds}, load)
    if routes:
        outcome.problems.append(f"routes that nobody asked for: {routes}")
    sessions = sum(row["sessions"] for row in report["websockets"])
    check_counts(outcome, "sessions", {traffic.SESSIONS: sessions}, load)

    check_calls(outcome, report, load)
    for table, most in MOST_ROWS.items():
        outcome.figures[table] = len(report[table])
        if len(report[table]) > most:
            outcome.problems.append(f"{len(report[table])} rows of {table}, more than {most}")
    rows = report["routes"] + report["dependencies"]
    others = [row for row in rows if "_other" in (row["route"], row.get("peer"))]
    outcome.figures["other_rows"] = len(others)
    if others:
        outcome.problems.append(f"{len(others)} rows of others: no table was full")
    missing = set(load.observed) - {target["pid"] for target in report["targets"]}
    if missing:
        outcome.problems.append(f"processes that are not in the report: {sorted(missing)}")
    certain = load.done.total()
    outcome.figures |= {
        "requests": load.requests,
        "certain": certain,
        "uncertain": load.requests - certain,
        "reported": sum(row["requests"] for row in report["routes"]) + sessions,
        "workers_replaced": len(load.killed),
        "targets": len(report["targets"]),
        "produced": report["loss"]["produced"],
        "lost": sum(report["loss"]["lost"].values()),
        "counters": {k: v for k, v in report["self"]["counters"].items() if v},
    }
    if outcome.figures["lost"]:
        outcome.problems.append(f"lost: {report['loss']}")


# ---- to be read ----------------------------------------------------------------------------


def tell(now):
    print(
        f"{now.at_s:7.1f} s {now.requests:9,} requests {now.killed:4} workers replaced "
        f"{now.rss_mib:7.2f} MiB rss {now.pss_mib:7.2f} pss {now.cpu_s:7.2f} s of CPU "
        f"{sum(now.descriptors.values()):4} descriptors {now.threads} threads",
        flush=True,
    )


def figure(value):
    return f"{value:.4g}" if isinstance(value, float) else value


def show(outcome):
    print()
    for name, value in outcome.figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {figure(v)}" for k, v in value.items())
        print(f"{name}: {value}")
    for problem in outcome.problems:
        print(f"  {problem}")
    print("failed" if outcome.problems else "passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="requests per second")
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--loop", choices=harness.LOOPS, default=Plan.loop)
    parser.add_argument("--output", default=harness.ROOT / "build/soak.json", type=Path)
    options = parser.parse_args()
    plan = Plan(options.seconds, options.rate, options.workers, loop=options.loop)
    outcome = measure(plan, tell)
    show(outcome)
    text = json.dumps(outcome, default=vars, indent=1)
    options.output.write_text(text + "\n")
    print(options.output)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
