# SPDX-License-Identifier: Apache-2.0
"""What loopscope costs a service: `make bench`.

    bench.py [--minutes 10] [--quick] [--loop uvloop|asyncio]

A FastAPI service under Uvicorn runs on one CPU; its load and loopscope share
another.  It is measured with and without `loopscope attach` in alternating
pairs, saturated and at half that rate, until every 95 % interval of a ratio is
narrower than its distance to the goal, or the time is over.  A goal inside of
its interval was neither reached nor missed: it is "not shown".  Runs in which
somebody else used the service's CPU are repeated.  Writes build/bench.json.
"""

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/live"))

import harness  # noqa: E402

OUT = ROOT / "build/bench"
PATH = "/items/7"
CONNECTIONS = 16
SERVICE_CPU, LOAD_CPU = 0, 1
MIN_PAIRS = 5
FOREIGN = 0.03  # of the service's CPU, used by others
BLOCK_MS = 10
TICK = os.sysconf("SC_CLK_TCK")
BPF_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
#: load, figure, whether more is better, goal for with / without
GOALS = (
    ("saturated", "throughput", True, 0.99),
    ("saturated", "cpu_us_per_request", False, 1.02),
    ("saturated", "p99_us", False, 1.02),
    ("half", "cpu_us_per_request", False, 1.02),
    ("half", "p99_us", False, 1.02),
)
SHOWN = (
    ("saturated", "throughput"),
    ("saturated", "p50_us"),
    ("saturated", "p99_us"),
    ("saturated", "cpu_us_per_request"),
    ("half", "p50_us"),
    ("half", "p99_us"),
    ("half", "cpu_us_per_request"),
)
#: Student's t, 97.5 %, by degrees of freedom
T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)


# ---- /proc -------------------------------------------------------------------------


def cpu_seconds(pid):
    """CPU time of a process's living threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def used_seconds(cpu):
    """Seconds for which a CPU was not idle, stolen ones included."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            fields = [int(field) for field in line.split()[1:]]
            return (sum(fields[:3]) + sum(fields[5:8])) / TICK
    raise LookupError(f"no CPU {cpu}")


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmHWM")


def programs(pid):
    """{id: (nanoseconds, runs)} of the BPF programs that a process holds."""
    found = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "run_cnt" in fields:
            found[int(fields["prog_id"])] = (int(fields["run_time_ns"]), int(fields["run_cnt"]))
    return found


def program_names():
    run = subprocess.run(
        [ROOT / "tools/bpftool.sh", "-j", "prog", "show"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return {program["id"]: program.get("name", "") for program in json.loads(run.stdout)}
    except ValueError:
        return {}


# ---- one run -----------------------------------------------------------------------


def on_cpu(cpu, *command):
    return ["taskset", "-c", str(cpu), *map(str, command)]


def build():
    OUT.mkdir(parents=True, exist_ok=True)
    for name in ("paced", "syscalls"):
        source = ROOT / f"tools/bench/{name}.c"
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", OUT / name, source]
        subprocess.run(command, check=True)


def load(service, seconds, rate=None):
    """What the load generator says."""
    if rate is None:
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s"]
        command += ["-s", ROOT / "tools/bench/wrk.lua", f"http://{harness.HOST}:{service.port}{PATH}"]
    else:
        command = [OUT / "paced", service.port, PATH, f"{rate:.0f}", seconds, CONNECTIONS]
    run = subprocess.run(
        on_cpu(LOAD_CPU, *command), capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.split("JSON", 1)[1].splitlines()[0])


def measure(service, seconds, rate=None, profiler=None):
    """One load with what it cost; profiler is the pid of loopscope."""
    load(service, 1, rate)
    tool = cpu_seconds(profiler) if profiler else 0
    cpu, busy, began = cpu_seconds(service.pid), used_seconds(SERVICE_CPU), time.monotonic()
    figures = load(service, seconds, rate)
    wall = time.monotonic() - began
    cpu, busy = cpu_seconds(service.pid) - cpu, used_seconds(SERVICE_CPU) - busy
    if figures["errors"]:
        raise RuntimeError(f"the load had errors: {figures}")
    figures["throughput"] = figures["requests"] / figures["seconds"]
    figures["cpu_us_per_request"] = cpu / figures["requests"] * 1e6
    figures["foreign"] = (busy - cpu) / wall
    if profiler:
        figures["profiler_cpu"] = (cpu_seconds(profiler) - tool) / wall
    return figures


def syscall_ns(seconds=0.3):
    run = subprocess.run(
        on_cpu(LOAD_CPU, OUT / "syscalls", seconds), capture_output=True, text=True, check=True
    )
    return float(run.stdout)


@contextmanager
def attach(service):
    """loopscope as anybody would start it, on the CPU of the load; its pid."""
    command = on_cpu(LOAD_CPU, harness.LOOPSCOPE, "attach", "-p", service.pid)
    readiness = harness.Readiness()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=readiness.env,
    )
    try:
        with readiness:
            readiness.wait(process)
        if process.poll() is not None:
            raise RuntimeError(f"loopscope ended with status {process.returncode}")
        yield process.pid
        process.send_signal(signal.SIGINT)
        if process.wait(harness.REPORT_SECONDS):
            raise RuntimeError(f"loopscope ended with status {process.returncode}")
    finally:
        harness.end(process, signal.SIGKILL)


def both(service, seconds, rate, profiler=None):
    runs = {"syscall_ns": syscall_ns(), "startup_cpu_s": cpu_seconds(profiler) if profiler else 0}
    runs["saturated"] = measure(service, seconds, None, profiler)
    runs["half"] = measure(service, seconds, rate, profiler)
    if profiler:
        runs["peak_mib"] = peak_mib(profiler)
    return runs


def pair(service, seconds, rate, profiled_first):
    """Without and with loopscope, in this or the other order."""
    found = {}
    for profiled in (profiled_first, not profiled_first):
        if profiled:
            with attach(service) as profiler:
                found["with"] = both(service, seconds, rate, profiler)
        else:
            found["without"] = both(service, seconds, rate)
    return found


def disturbed(found):
    return any(
        found[side][name]["foreign"] > FOREIGN
        for side in ("with", "without")
        for name in ("saturated", "half")
    )


def kernel_side(service, seconds):
    """Nanoseconds per run and runs per request of each program, saturated."""
    before = BPF_STATS.read_text()
    found = []
    with attach(service) as profiler:
        names = program_names()
        BPF_STATS.write_text("1")
        try:
            load(service, 1)
            began = programs(profiler)
            requests = load(service, seconds)["requests"]
            ended = programs(profiler)
        finally:
            BPF_STATS.write_text(before)
    for program, (ns, runs) in ended.items():
        ns, runs = ns - began.get(program, (0, 0))[0], runs - began.get(program, (0, 0))[1]
        if runs:
            found.append(
                {
                    "program": names.get(program, str(program)),
                    "ns_per_event": ns / runs,
                    "events_per_request": runs / requests,
                    "us_per_request": ns / requests / 1e3,
                }
            )
    return sorted(found, key=lambda program: -program["us_per_request"])


def first_event(service, times):
    """Seconds from exec to the first line about a service that blocks all the time."""
    found = []
    command = [harness.LOOPSCOPE, "attach", "-p", service.pid, "--stall", 4, "--follow"]
    stop = iter(lambda: f"/block/{BLOCK_MS}", None)
    with harness.loading(service, stop, concurrency=1):
        for _ in range(times):
            time.sleep(0.2)
            began = time.monotonic()
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            timer = threading.Timer(10, process.kill)
            timer.start()
            try:
                if process.stdout.readline():
                    found.append(time.monotonic() - began - BLOCK_MS / 1e3)
            finally:
                timer.cancel()
                harness.end(process, signal.SIGINT)
                process.stdout.close()
    return found


# ---- figures -----------------------------------------------------------------------


def interval(ratios):
    """Geometric mean and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.mean(logs)
    if len(logs) < 2:
        return {"ratio": math.exp(mean), "low": 0.0, "high": math.inf}
    t = T[len(logs) - 2] if len(logs) - 2 < len(T) else 2.09
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def ratios(pairs, name, figure):
    return [found["with"][name][figure] / found["without"][name][figure] for found in pairs]


def verdict(found, more, goal):
    if found["low"] <= goal <= found["high"]:
        return "not shown"
    return "reached" if (found["ratio"] > goal) == more else "missed"


def settled(pairs):
    """Every interval is narrower than its distance to the goal."""
    if len(pairs) < MIN_PAIRS:
        return False
    for name, figure, _, goal in GOALS:
        found = interval(ratios(pairs, name, figure))
        if found["high"] - found["low"] > abs(found["ratio"] - goal):
            return False
    return True


def median(values):
    return statistics.median(values) if values else None


def summary(pairs, dropped, rate, kernel, first):
    profiled = [found["with"] for found in pairs]
    result = {"pairs": len(pairs), "dropped": dropped, "rate": rate, "ratios": {}, "figures": {}}
    for name, figure in SHOWN:
        key = f"{name}.{figure}"
        result["ratios"][key] = interval(ratios(pairs, name, figure))
        result["figures"][key] = {
            side: median([found[side][name][figure] for found in pairs])
            for side in ("without", "with")
        }
    result["late_p99_us"] = median([found["without"]["half"]["late_p99_us"] for found in pairs])
    result["goals"] = {
        f"{name}.{figure}": {
            "goal": goal,
            "verdict": verdict(result["ratios"][f"{name}.{figure}"], more, goal),
        }
        for name, figure, more, goal in GOALS
    }
    result["profiler"] = {
        "cpu_saturated": median([found["saturated"]["profiler_cpu"] for found in profiled]),
        "cpu_half": median([found["half"]["profiler_cpu"] for found in profiled]),
        "startup_cpu_s": median([found["startup_cpu_s"] for found in profiled]),
        "peak_mib": max(found["peak_mib"] for found in profiled),
    }
    result["syscall_ns"] = {
        side: median([found[side]["syscall_ns"] for found in pairs])
        for side in ("without", "with")
    }
    result["kernel"] = kernel
    result["first_event_s"] = {"median": median(first), "max": max(first), "times": len(first)}
    return result


def limit(value, goal):
    return f"(goal {goal}: {'reached' if value <= goal else 'missed'})"


def show(result):
    print(
        f"\n{result['pairs']} pairs ({result['dropped']} more were disturbed), fixed rate "
        f"{result['rate']:.0f}/s (99 % of requests sent within {result['late_p99_us']} us)\n\n"
        f"{'':32}{'without':>10}{'with':>10}   {'ratio':8}{'95 % interval':18}goal"
    )
    for name, figure in SHOWN:
        key = f"{name}.{figure}"
        value, ratio, goal = result["figures"][key], result["ratios"][key], result["goals"].get(key)
        print(
            f"{name + ' ' + figure:32}{value['without']:10.1f}{value['with']:10.1f}   "
            f"{ratio['ratio']:<8.4f}{ratio['low']:.4f} - {ratio['high']:.4f}   "
            + (f"{goal['goal']}: {goal['verdict']}" if goal else "")
        )
    own, calls, first = result["profiler"], result["syscall_ns"], result["first_event_s"]
    worst = max(own["cpu_saturated"], own["cpu_half"])
    print(
        f"\nloopscope: {own['cpu_saturated']:.2%} of a core saturated, "
        f"{own['cpu_half']:.2%} at half {limit(worst, 0.01)}, "
        f"{own['startup_cpu_s']:.2f} s of CPU to start\n"
        f"  {own['peak_mib']:.1f} MiB at most {limit(own['peak_mib'], 32)}\n"
        f"attach to first event: median {first['median']:.2f} s, "
        f"longest {first['max']:.2f} s of {first['times']} {limit(first['median'], 0.5)}\n"
        f"an unrelated process's system call: {calls['without']:.0f} ns, "
        f"{calls['with']:.0f} ns with loopscope attached\n"
    )
    show_kernel(result["kernel"])


def show_kernel(rows):
    """Probes of system calls run for every process: the load's calls are in here."""
    print(f"{'program, all processes':24}{'ns/event':>10}{'events/request':>16}{'us/request':>12}")
    for row in rows:
        print(
            f"{row['program']:24}{row['ns_per_event']:10.0f}"
            f"{row['events_per_request']:16.2f}{row['us_per_request']:12.3f}"
        )
    events = sum(row["events_per_request"] for row in rows)
    us = sum(row["us_per_request"] for row in rows)
    print(f"{'together':34}{events:16.2f}{us:12.3f}")


def collect(service, options):
    """Pairs until they suffice or the time is over; how many were dropped; the rate."""
    until = time.monotonic() + options.minutes * 60
    load(service, 2)
    rate = load(service, 2)["requests"] / 4
    pairs, dropped = [], 0
    began = time.monotonic()
    while True:
        found = pair(service, options.seconds, rate, (len(pairs) + dropped) % 2 == 1)
        took = (time.monotonic() - began) / (len(pairs) + dropped + 1)
        if disturbed(found) and not options.quick:
            dropped += 1
        else:
            pairs.append(found)
        print(f"pair {len(pairs)}, {dropped} disturbed", file=sys.stderr)
        if options.quick or settled(pairs):
            break
        if time.monotonic() + took > until and (pairs or time.monotonic() > until + 300):
            break
    return pairs, dropped, rate


def options_of(parser, output):
    """The options that both parts of the benchmark have, and what they need."""
    parser.add_argument("--seconds", type=float, default=4, help="of one run")
    parser.add_argument("--loop", choices=harness.LOOPS, default="uvloop")
    parser.add_argument("--quick", action="store_true", help="one short pair: does it work?")
    parser.add_argument("--output", default=ROOT / "build" / output, type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seconds = 1
    if os.cpu_count() < 2:
        sys.exit("bench: two CPUs are needed, one for the service and one for its load")
    build()
    return options


def service_of(options):
    return harness.Service(
        "app:app", loop=options.loop, cpu=SERVICE_CPU, app_folder=ROOT / "tools/bench"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    options = options_of(parser, "bench.json")
    with service_of(options) as service:
        pairs, dropped, rate = collect(service, options)
        if not pairs:
            sys.exit("bench: somebody else used the service's CPU all the time")
        kernel = kernel_side(service, options.seconds)
        first = first_event(service, 1 if options.quick else 10)
    if not first:
        sys.exit("bench: loopscope said nothing about a service that blocks")
    result = summary(pairs, dropped, rate, kernel, first)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
