# SPDX-License-Identifier: Apache-2.0
"""What snapshots of many waiting tasks cost a service: the second part of `make bench`.

    bench_tasks.py [--pairs 4] [--quick] [--loop uvloop|asyncio]

The service of bench.py has a request with 10, 1,000 and 10,000 tasks that wait, and a load
at a fixed rate beside it.  It is measured with and without `loopscope attach` in
alternating pairs.  The goal is under 1 % of a core up to 1,000 tasks.  Writes
build/bench-tasks.json.
"""

import argparse
import json
from contextlib import closing

import bench
from clients import Client, request_bytes

TASKS = (10, 1000, 10000)
RATE = 200  # requests per second: the service has time for its tasks
GOAL, GOAL_TASKS = 0.01, 1000


def measured(service, options, profiled):
    if not profiled:
        return bench.measure(service, options.seconds, RATE)
    with bench.attach(service) as profiler:
        found = bench.measure(service, options.seconds, RATE, profiler)
        found["peak_mib"] = bench.peak_mib(profiler)
        return found


def row(tasks, options):
    sides = {True: [], False: []}
    service = bench.service_of(options)
    with service, closing(Client(service.port)) as client:
        client.send(request_bytes("GET", f"/waiting/{tasks}"))
        for number in range(options.pairs):
            for profiled in (number % 2 == 1, number % 2 == 0):
                sides[profiled].append(measured(service, options, profiled))
    pairs = list(zip(sides[True], sides[False], strict=True))
    return {
        "tasks": tasks,
        "profiler_cpu": bench.median([found["profiler_cpu"] for found in sides[True]]),
        "peak_mib": max(found["peak_mib"] for found in sides[True]),
        "ratios": {
            figure: bench.interval([found[figure] / other[figure] for found, other in pairs])
            for figure in ("cpu_us_per_request", "p99_us")
        },
    }


def show(rows):
    print(f"\n{RATE} requests/s beside a request of so many tasks that wait\n")
    print(f"{'tasks':>7}{'loopscope':>12}{'MiB':>7}   CPU per request       p99")
    for found in rows:
        cpu, p99 = (found["ratios"][name] for name in ("cpu_us_per_request", "p99_us"))
        goal = bench.limit(found["profiler_cpu"], GOAL) if found["tasks"] <= GOAL_TASKS else ""
        print(
            f"{found['tasks']:7}{found['profiler_cpu']:12.2%}{found['peak_mib']:7.1f}   "
            f"{cpu['ratio']:.3f} ({cpu['low']:.3f}-{cpu['high']:.3f})  "
            f"{p99['ratio']:.3f} ({p99['low']:.3f}-{p99['high']:.3f})  {goal}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4)
    options = bench.options_of(parser, "bench-tasks.json")
    if options.quick:
        options.pairs = 1
    rows = [row(tasks, options) for tasks in TASKS]
    options.output.write_text(json.dumps({"rate": RATE, "rows": rows}, indent=1) + "\n")
    show(rows)
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
