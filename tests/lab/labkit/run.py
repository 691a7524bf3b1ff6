# SPDX-License-Identifier: Apache-2.0
"""Runs the cases of ``expectations.json`` and verifies them with the probe.

    python3 -m labkit.run [--loop uvloop|asyncio] [--only SERVER_OR_CASE ...] [--quick]
                          [--attach COMMAND]

``--quick`` picks one bad case of each kind and its first good twin.
``--attach`` runs a profiler around every case; ``{pid}``, ``{case}`` and ``{server}`` are
substituted in its command line. It is interrupted once the load is over.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from labkit.load import run_case, warm_up
from labkit.model import quick
from labkit.settings import get_settings
from labkit.verify import check, check_culprit, has_culprit_line, measure

ROOT = Path.cwd()
SLOW_PIPE_SIZE = 16384
SLOW_PIPE_CHUNK = 4096
SLOW_PIPE_PERIOD_S = 0.05
SETTLE_S = 0.3
ATTACH_S = 2.0
DETACH_S = 15.0
LIBRARIES = ("fastapi", "starlette", "uvicorn", "uvloop", "anyio", "pydantic")
STACK_FIELDS = ("culprit_seen", "step_max_ms", "lag_max_ms", "wall_p50_ms")


class ServerFailed(RuntimeError):
    """A service, or the peers, ended or never listened."""


@lru_cache
def environment() -> str:
    """One line that says what a run was measured on."""
    found = {entry.metadata["Name"].lower(): entry.version for entry in distributions()}
    versions = [f"{name} {found.get(name, 'none')}" for name in LIBRARIES]
    return ", ".join([f"python {platform.python_version()}", *versions])


def require_free_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((host, port)) == 0:
            sys.exit(f"{host}:{port} is in use; set LAB_SERVICE_PORT")


def require_services(suite: dict[str, Any], servers: set[str]) -> None:
    """Say at once what is missing instead of failing case by case."""
    if os.geteuid() != 0:
        sys.exit("the lab needs root: a private /etc/resolv.conf and port 53 of 127.0.0.2")
    settings = get_settings()
    ports = {"postgres": settings.pg_port, "redis": settings.redis_port}
    for need in {need for name in servers for need in suite["servers"][name]["needs"]} & set(ports):
        with socket.socket() as probe:
            if probe.connect_ex((settings.host, ports[need])) != 0:
                sys.exit(f"no {need} on {settings.host}:{ports[need]}: labkit/setup services start")


def wait_for_port(
    host: str, port: int, process: subprocess.Popen[bytes], timeout: float = 60.0
) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise ServerFailed(f"nothing listens on {host}:{port}, exit status {process.poll()}")


class SlowReader(threading.Thread):
    """Drains a pipe at about 80 KB/s until told to hurry."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.hurry = threading.Event()

    def run(self) -> None:
        while os.read(self._descriptor, SLOW_PIPE_CHUNK):
            if not self.hurry.is_set():
                time.sleep(SLOW_PIPE_PERIOD_S)


def descendants(pid: int) -> list[int]:
    found = [pid]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == pid:
            found += descendants(int(entry.name))
    return found


def command_lines(pids: list[int]) -> list[str]:
    """What the processes were started with; of absolute paths only the last part."""
    lines = []
    for pid in pids:
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        words = raw.decode(errors="replace").strip("\0").split("\0")
        lines.append(" ".join(Path(w).name if w.startswith("/") else w for w in words))
    return lines


class Server:
    """One service process tree under test."""

    def __init__(self, spec: dict[str, Any], loop: str, mode: str, truth_dir: Path) -> None:
        settings = get_settings()
        self.host, self.port = settings.host, settings.service_port
        self.truth_dir = truth_dir
        values = {"host": self.host, "port": str(self.port), "loop": loop}
        command = [part.format(**values) for part in spec["command"]]
        if "dns" in spec["needs"]:
            resolv = Path(__file__).with_name("resolv.conf")
            command = [
                "unshare", "--mount", "sh", "-c",
                'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolv), *command,
            ]  # fmt: skip
        self.hogs: list[subprocess.Popen[bytes]] = []
        if spec["cpu_hogs"]:
            command = ["taskset", "--cpu-list", "0", *command]
        environment = os.environ | spec["env"] | {
            "LAB_TRUTH": mode,
            "LAB_TRUTH_DIR": str(truth_dir),
            "PYTHONPATH": str(ROOT),
            # uvicorn and gunicorn of the same environment as this runner
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.reader: SlowReader | None = None
        stdout: int = subprocess.DEVNULL
        if spec["stdout"] == "slow_pipe":
            read_end, stdout = os.pipe()
            fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, SLOW_PIPE_SIZE)
            self.reader = SlowReader(read_end)
            self.reader.start()
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, env=environment, stdout=stdout, stderr=self.log, start_new_session=True
        )
        if self.reader is not None:
            os.close(stdout)
        self._hog_count = spec["cpu_hogs"]

    def wait(self) -> None:
        wait_for_port(self.host, self.port, self.process)
        time.sleep(0.5)
        spin = ["taskset", "--cpu-list", "0", sys.executable, "-c", "while True: pass"]
        self.hogs = [subprocess.Popen(spin) for _ in range(self._hog_count)]

    def stop(self) -> str:
        for hog in self.hogs:
            hog.kill()
            hog.wait()
        if self.reader is not None:
            self.reader.hurry.set()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        # what a service started and left behind, for instance a pool of processes
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.seek(0)
        return self.log.read()

    def windows(self, case: str) -> list[dict[str, Any]]:
        reports = [json.loads(path.read_text()) for path in self.truth_dir.glob("*.json")]
        return [report["cases"][case] for report in reports if case in report["cases"]]


@contextmanager
def attached(template: str | None, **values: str) -> Iterator[None]:
    """Keep a profiler running for the duration of the block."""
    if template is None:
        yield
        return
    command = [part.format(**values) for part in shlex.split(template)]
    profiler = subprocess.Popen(command, start_new_session=True)
    time.sleep(ATTACH_S)
    if profiler.poll() is not None:
        sys.stderr.write(f"{values['case']}: profiler exited with {profiler.returncode}\n")
    try:
        yield
    finally:
        profiler.send_signal(signal.SIGINT)
        try:
            profiler.wait(DETACH_S)
        except subprocess.TimeoutExpired:
            profiler.kill()
            profiler.wait()


def drive(server: Server, case: dict[str, Any]) -> list[dict[str, Any]]:
    driven = asyncio.run(run_case(case["load"], server.host, server.port, case["id"]))
    time.sleep(SETTLE_S + case["load"].get("settle_s", 0.0))
    return driven


def run_server(
    name: str, spec: dict[str, Any], cases: list[dict[str, Any]], arguments: argparse.Namespace
) -> dict[str, Any]:
    truth_dir = Path(tempfile.mkdtemp(prefix="lab-truth-"))
    require_free_port(get_settings().host, get_settings().service_port)
    server = Server(spec, arguments.loop, arguments.truth, truth_dir)
    driven: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}
    lines: list[str] = []
    failure = ""
    try:
        server.wait()
        lines = command_lines(descendants(server.process.pid))
        pid = str(server.process.pid)
        for case in cases:
            began = time.monotonic()
            asyncio.run(warm_up(case["load"], server.host, server.port))
            with attached(arguments.attach, pid=pid, case=case["id"], server=name):
                driven[case["id"]] = drive(server, case)
            seconds[case["id"]] = time.monotonic() - began
    except (ServerFailed, OSError) as error:
        failure = str(error)
    finally:
        log = server.stop()
    if failure:
        sys.stderr.write(log[-2000:])
    results: dict[str, Any] = {}
    for case in cases:
        if case["id"] not in driven:
            measured = dict.fromkeys(STACK_FIELDS, 0.0)
            results[case["id"]] = {"ok": False, "problems": [failure], "measured": measured}
            continue
        measured = measure(case, server.windows(case["id"]), driven[case["id"]])
        if isinstance(case["truth"], dict) and case["truth"]["kind"] == "config":
            wanted = case["load"]["command_contains"]
            measured["config"] = [line for line in lines if all(w in line for w in wanted)]
            measured["processes"] = len(lines)
        problems: list[str] = []
        if arguments.truth == "full":
            problems = check(case, measured)
        elif arguments.truth == "stacks":
            problems, measured["culprit_seen"] = check_culprit(case, server.windows(case["id"]))
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            (arguments.out / f"{case['id']}.truth.json").write_text(json.dumps(measured, indent=1))
        if arguments.truth == "stacks":
            measured = {name: measured[name] for name in STACK_FIELDS}
        measured["seconds"] = round(seconds[case["id"]], 1)
        results[case["id"]] = {"ok": not problems, "problems": problems, "measured": measured}
    if arguments.truth == "full" and any(
        "route not seen" in p for r in results.values() for p in r["problems"]
    ):
        sys.stderr.write(log[-2000:])
    shutil.rmtree(truth_dir, ignore_errors=True)
    return results


def select(suite: dict[str, Any], arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The cases to run, by server."""
    wanted = set(arguments.only)
    if arguments.quick:
        wanted |= quick(suite["cases"])
    chosen: dict[str, list[dict[str, Any]]] = {}
    for case in suite["cases"]:
        if (arguments.truth != "stacks" or has_culprit_line(case)) and (
            not wanted or {case["server"], case["id"]} & wanted
        ):
            chosen.setdefault(case["server"], []).append(case)
    return chosen


def show(name: str, case_id: str, result: dict[str, Any], verdict: str) -> None:
    measured = result["measured"]
    print(
        f"{verdict:5} {name:22} {case_id:28}"
        f" step={measured['step_max_ms']:8.1f}"
        f" lag={measured['lag_max_ms']:8.1f}"
        f" wall={measured['wall_p50_ms']:8.1f}"
        f" {'; '.join(result['problems'])}",
        flush=True,
    )


def show_budget(spent: dict[str, dict[str, float]], total: float) -> None:
    """Where the time of the run went: every case, and what starting the servers cost."""
    print("\nseconds per case, all attempts together, by server (its start and stop in brackets)")
    for name, cases in spent.items():
        own = f"[{cases['']:.1f}]"
        each = ", ".join(f"{case} {cost:.1f}" for case, cost in cases.items() if case)
        print(f"{name:22} {sum(cases.values()):6.1f} {own:>7}  {each}")
    count = sum(len(cases) - 1 for cases in spent.values())
    print(f"{count} cases on {len(spent)} servers took {total:.0f} s")


def run_all(
    suite: dict[str, Any],
    chosen: dict[str, list[dict[str, Any]]],
    verification: dict[str, Any],
    arguments: argparse.Namespace,
) -> int:
    """Run the chosen cases, repeating what failed; return how many never passed."""
    verifying = arguments.truth in ("full", "stacks")
    aspect = arguments.loop if arguments.truth == "full" else "culprit"
    began = time.monotonic()
    spent: dict[str, dict[str, float]] = {}
    failed = 0
    for name, cases in chosen.items():
        cost = spent[name] = {"": 0.0} | {case["id"]: 0.0 for case in cases}
        for attempt in range(1, arguments.attempts + 1):
            started = time.monotonic()
            results = run_server(name, suite["servers"][name], cases, arguments)
            cost[""] += time.monotonic() - started
            for case_id, result in results.items():
                seconds = result["measured"].get("seconds", 0.0)
                cost[case_id] += seconds
                cost[""] -= seconds
                result |= {"attempts": attempt, "on": environment()}
                verdict = "ok" if verifying else "ran"
                if not result["ok"]:
                    verdict = "FAIL" if attempt == arguments.attempts else "again"
                if verdict != "again":
                    verification.setdefault(case_id, {})[aspect] = result
                failed += verdict == "FAIL"
                show(name, case_id, result, verdict)
            cases = [case for case in cases if not results[case["id"]]["ok"]]
            if not cases:
                break
    show_budget(spent, time.monotonic() - began)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--truth", choices=["full", "stacks", "lite", "off"], default="full")
    parser.add_argument("--only", nargs="*", default=[], metavar="SERVER_OR_CASE")
    parser.add_argument("--quick", action="store_true", help="one pair of cases per kind")
    parser.add_argument("--attempts", type=int, default=3)
    parser.add_argument("--attach", metavar="COMMAND", help="profiler to run around each case")
    parser.add_argument("--out", type=Path, help="folder for one ground-truth file per case")
    parser.add_argument("--record", action="store_true", help="update verification.json")
    arguments = parser.parse_args()
    if arguments.record and arguments.truth not in ("full", "stacks"):
        parser.error("--record needs --truth full or stacks")

    suite = json.loads((ROOT / "expectations.json").read_text())
    unknown = set(arguments.only) - set(suite["servers"]) - {c["id"] for c in suite["cases"]}
    if unknown:
        parser.error(f"no such server or case: {', '.join(sorted(unknown))}")
    store = ROOT / "verification.json"
    verification = json.loads(store.read_text()) if store.exists() else {}
    print(environment())
    chosen = select(suite, arguments)
    require_services(suite, set(chosen))
    peers = subprocess.Popen([sys.executable, "-m", "labkit.peers"])
    try:
        wait_for_port(get_settings().host, get_settings().slow_port, peers)
        failed = run_all(suite, chosen, verification, arguments)
    except ServerFailed as error:
        sys.exit(f"peers: {error}")
    finally:
        peers.terminate()
        peers.wait()
    if arguments.record:
        store.write_text(json.dumps(verification, indent=1, sort_keys=True) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
