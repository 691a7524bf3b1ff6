# SPDX-License-Identifier: Apache-2.0
"""Injected blocks against what is reported: `make accuracy`.

    accuracy.py [--blocks 1000] [--services 5] [--loop asyncio|uvloop ...]

So many blocks of 5 ms to 2 s, spread logarithmically, are injected into each of
the loops, by several services at once, and each is compared with the line that
`loopscope attach --follow -f json --stall 4` printed for it.  A length is right
within 1 ms or 1 %, whichever is larger; no block may be missing, none be extra.
The truth is the clock before and after the call inside the service, less the
time that its thread waited for a CPU.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field

import harness

SHORTEST_MS = 5.0
LONGEST_MS = 2000.0
STALL_MS = 4
WITHIN_MS = 1.0
WITHIN = 0.01
MAX_SHORTENED = 0.01
#: Each waits in another system call.
ROUTES = ("/sleep/{}", "/recv/{}", "/epoll/{}", "/recv-timeout/{}")
#: A peer counts from when it was asked, so that the wait may be somewhat shorter.
ALONE = ("/sleep/{}", "/epoll/{}")
PEER_MS = 15.0
PAUSE_S = 0.005


@dataclass
class Outcome:
    """What became of the blocks of one loop."""

    loop: str
    wanted: int = 0
    matched: list = field(default_factory=list)  # (true ms, reported ms, line of the truth)
    shortened: int = 0  # blocks that a busy machine made shorter than any is reported
    problems: list = field(default_factory=list)

    @property
    def wrong(self):
        return [
            pair for pair in self.matched if abs(pair[1] - pair[0]) > allowed_ms(pair[0])
        ]

    @property
    def good(self):
        there = len(self.matched) + self.shortened
        few = self.shortened <= self.wanted * MAX_SHORTENED
        return not self.problems and not self.wrong and there == self.wanted and few


def allowed_ms(length):
    return max(WITHIN_MS, WITHIN * length)


def lengths(count, seed=1):
    """So many, evenly spread over the logarithm, in an order of no meaning."""
    steps = max(count - 1, 1)
    spread = [SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** (i / steps) for i in range(count)]
    random.Random(seed).shuffle(spread)
    return spread


def shares(values, count):
    """Divided into so many parts of about the same sum."""
    parts = [[] for _ in range(count)]
    for value in sorted(values, reverse=True):
        min(parts, key=sum).append(value)
    for part in parts:
        random.Random(len(part)).shuffle(part)
    return parts


def paths(part):
    made = []
    for number, ms in enumerate(part):
        routes = ROUTES if ms > PEER_MS else ALONE
        made.append(routes[number % len(routes)].format(f"{ms:.3f}"))
    return made


def match(outcome, service, run):
    """Pairs the service's log with the lines on stdout, in order per thread."""
    true, reported = defaultdict(list), defaultdict(list)
    for line in service.truth("blocking_call"):
        if harness.length_ms(line) < STALL_MS:
            outcome.shortened += 1
        else:
            true[line["tid"]].append(line)
    for line in map(json.loads, run.stdout.splitlines()):
        if line["kind"] == "call":
            reported[line["tid"]].append(line)
    for tid in true.keys() | reported.keys():
        wanted, got = true[tid], reported[tid]
        if [line["route"] for line in wanted] != [route_of(line) for line in got]:
            outcome.problems.append(
                f"thread {tid}: {len(wanted)} blocks, {len(got)} reported"
                + first_difference(wanted, got)
            )
            continue
        outcome.matched += [
            (harness.length_ms(a), b["duration_ms"], a)
            for a, b in zip(wanted, got, strict=True)
        ]
    check_report(outcome, service, run)


def route_of(reported):
    return f"{reported['method']} {reported['route']}"


def first_difference(wanted, got):
    at = 0
    while at < min(len(wanted), len(got)) and wanted[at]["route"] == route_of(got[at]):
        at += 1
    nearby = slice(max(at - 2, 0), at + 2)
    true = [(line["route"], harness.length_ms(line)) for line in wanted[nearby]]
    said = [(route_of(line), line["duration_ms"], line["syscall"]) for line in got[nearby]]
    return f"; around block {at}: {true}, reported as {said}"


def check_report(outcome, service, run):
    """The report has the same blocks as the lines, and nothing was lost."""
    if run.status != 0 or run.report is None:
        outcome.problems.append(f"status {run.status}: {run.stderr}")
        return
    loss = run.report["loss"]
    if loss["produced"] != loss["received"] or any(loss["lost"].values()):
        outcome.problems.append(f"lost: {loss}")
    counts = defaultdict(int)
    for finding in run.findings("blocking_call"):
        counts[route_of(finding)] += finding["count"]
    for line in service.truth("blocking_call"):
        counts[line["route"]] -= harness.length_ms(line) >= STALL_MS
    outcome.problems += [
        f"{route}: {count:+d} in the report" for route, count in counts.items() if count
    ]


async def inject(services, parts):
    await asyncio.gather(
        *(
            harness.drive_async(service, paths(part), concurrency=1, interval_s=PAUSE_S)
            for service, part in zip(services, parts, strict=True)
        )
    )


def measure(blocks, services, loops=harness.LOOPS):
    """Injects so many blocks into each of the loops; an Outcome for each loop."""
    outcomes = {loop: Outcome(loop, blocks) for loop in loops}
    parts = shares(lengths(blocks), services) * len(loops)
    with ExitStack() as stack:
        running = [
            stack.enter_context(harness.Service("stalls:app", loop=loop))
            for loop in loops
            for _ in range(services)
        ]
        for service in running:
            harness.drive(service, ["/ping"])
        with ExitStack() as attachments:
            options = ("--stall", STALL_MS, "--follow", "-f", "json")
            runs = [
                attachments.enter_context(harness.attached(service, *options))
                for service in running
            ]
            asyncio.run(inject(running, parts))
        for service, run in zip(running, runs, strict=True):
            match(outcomes[service.loop], service, run)
    return list(outcomes.values())


def show(outcome):
    errors = sorted(abs(reported - true) for true, reported, _ in outcome.matched)
    signed = sorted(reported - true for true, reported, _ in outcome.matched)
    print(f"{outcome.loop}: {len(outcome.matched)} of {outcome.wanted} blocks matched", end="")
    if outcome.shortened:
        print(f", {outcome.shortened} came out shorter than {STALL_MS} ms", end="")
    if errors:
        print(
            f"; error median {signed[len(signed) // 2]:+.3f} ms, "
            f"99 % within {errors[int(len(errors) * 0.99)]:.3f} ms, worst {errors[-1]:.3f} ms; "
            f"{len(outcome.wrong)} beyond 1 ms or 1 %",
            end="",
        )
    print()
    worst = sorted(outcome.wrong, key=lambda pair: -abs(pair[1] - pair[0]))
    for true, reported, line in worst[:10]:
        print(f"  {line['route']}: {true:.3f} ms reported as {reported:.3f} ms; {line}")
    for problem in outcome.problems[:10]:
        print(f"  {problem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=1000, help="for each loop")
    parser.add_argument("--services", type=int, default=5, help="at once, for each loop")
    parser.add_argument("--loop", action="append", choices=harness.LOOPS)
    options = parser.parse_args()
    outcomes = measure(options.blocks, options.services, options.loop or harness.LOOPS)
    for outcome in outcomes:
        show(outcome)
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
