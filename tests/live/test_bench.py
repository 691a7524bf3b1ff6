# SPDX-License-Identifier: Apache-2.0
"""The short form of `make bench`: it runs, and every figure is there."""

import json
import math
import subprocess
import sys

from harness import ROOT


def quick(script, output):
    """What the short form writes, and prints."""
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / script, "--quick", "--output", output],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(output.read_text()), run.stdout


def test_bench_has_every_figure(tmp_path):
    result, printed = quick("bench.py", tmp_path / "bench.json")
    assert result["pairs"] == 1
    for name in ("throughput", "p50_us", "p99_us", "cpu_us_per_request"):
        figures = result["figures"][f"saturated.{name}"]
        assert figures["without"] > 0 and figures["with"] > 0
        assert math.isfinite(result["ratios"][f"saturated.{name}"]["ratio"])
    assert result["figures"]["half.cpu_us_per_request"]["with"] > 0
    assert {"sched_switch", "sys_exit"} <= {program["program"] for program in result["kernel"]}
    assert all(program["ns_per_event"] > 0 for program in result["kernel"])
    assert result["profiler"]["peak_mib"] > 0
    assert result["syscall_ns"]["without"] > 0
    assert result["first_event_s"]["median"] > 0
    for goal in result["goals"]:
        assert goal in printed.replace(" ", ".")


def test_bench_of_tasks(tmp_path):
    result, _ = quick("bench_tasks.py", tmp_path / "bench-tasks.json")
    rows = result["rows"]
    assert [row["tasks"] for row in rows] == [10, 1000, 10000]
    for row in rows:
        assert row["profiler_cpu"] > 0 and row["peak_mib"] > 0
        assert all(math.isfinite(ratio["ratio"]) for ratio in row["ratios"].values())
