# SPDX-License-Identifier: Apache-2.0
"""Runs the test programs, the fuzzers and pytest, and adds up what they say.

A test that was skipped, deselected or expected to fail counts as failed unless
tests/allowed-skips lists it, and so does a part in which nothing ran, and a
process that a test left behind.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import guest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("unit", "bpf", "kernel", "fuzz", "pytest")
#: What runs only when it is asked for.
MORE_PARTS = ("kernels",)
UNIT_BUILDS = ("build", "build-address")
BPF_BUILDS = ("build", "build-clang")
PROGRAM_SECONDS = 300
PYTEST_SECONDS = 3600
PR_SET_CHILD_SUBREAPER = 36
#: Files of tests that wait for most of their time and measure no costs: these two lists run
#: side by side, then all others one after the other.
SIDE_BY_SIDE = (
    ("bad_input", "executors", "hang", "pools", "processes", "dump", "http2", "doctor"),
    ("convoys", "pool_threads", "services", "stacks", "tasks", "discover", "unix_socket",
     "names", "ready", "mysql"),
)  # fmt: skip

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def allowed_skips():
    """{test id: reason} from lines `ID REASON` of tests/allowed-skips."""
    allowed = {}
    for number, line in enumerate((ROOT / "tests/allowed-skips").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        test, _, reason = line.partition(" ")
        if not reason.strip():
            sys.exit(f"tests/allowed-skips:{number}: {test} has no reason")
        allowed[test] = reason.strip()
    return allowed


def children():
    """Processes below this one, orphans included: it is their subreaper."""
    found, todo = [], [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                below = [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
            found += below
            todo += below
    return found


def command_line(pid):
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def reap():
    """Waits for children that have ended; returns those that run on."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            return children()


def left_behind():
    """Processes that still run two seconds after the test; they are ended."""
    deadline = time.monotonic() + 2
    while running := reap():
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    left = [f"{pid} {command_line(pid)}" for pid in running]
    for pid in running:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while running and reap():
        time.sleep(0.05)
    return left


class Result:
    def __init__(self, allowed):
        self.allowed = allowed
        self.passed = 0
        self.failures = []

    def fail(self, what):
        print(f"FAILED {what}", flush=True)
        self.failures.append(what)

    def not_run(self, test, why):
        if test in self.allowed:
            print(f"allowed: {test} {why}: {self.allowed[test]}", flush=True)
        else:
            self.fail(f"{test}: {why}, and tests/allowed-skips does not list it")

    def check_left_behind(self, test):
        for process in left_behind():
            self.fail(f"{test}: left a process behind: {process}")


class Program:
    """One that runs; what it prints is shown when it has ended, or (not `held`) at once."""

    def __init__(self, test, command, seconds, env=None, held=True):
        self.test = test
        self.seconds = seconds
        self.out = tempfile.TemporaryFile("w+", errors="replace") if held else None
        if not held:
            print(f"== {test}", flush=True)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=subprocess.STDOUT if held else None,
        )

    def end(self, result):
        """(exit status, output); status None: it ran out of time."""
        output = ""
        try:
            status = self.process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        if self.out:
            with self.out as out:
                out.seek(0)
                output = out.read()
            print(f"== {self.test}\n{output}", end="", flush=True)
        if status is None:
            result.fail(f"{self.test}: no end after {self.seconds} s")
        return status, output


def run(result, test, command, seconds, env=None):
    """Runs one program; returns (exit status, output), None: ran out of time."""
    done = Program(test, command, seconds, env).end(result)
    result.check_left_behind(test)
    return done


def count_cmocka(result, test, status, output):
    """How many passed of what a program of tests said."""
    started = len(re.findall(r"^\[ RUN +\] ", output, re.M))
    passed = len(re.findall(r"^\[ +OK \] ", output, re.M))
    # Each name is printed where it ran and again in the list at the end.
    failed = set(re.findall(r"^\[ +FAILED +\] (?!\d+ test)(\S+)", output, re.M))
    skipped = set(re.findall(r"^\[ +SKIPPED +\] (?!\d+ test)(\S+)", output, re.M))

    result.passed += passed
    for name in sorted(failed):
        result.fail(f"{test}:{name}")
    for name in sorted(skipped):
        result.not_run(f"{test}:{name}", "skipped")
    if status and not failed:
        result.fail(f"{test}: exit status {status}")
    elif status == 0 and failed:
        result.fail(f"{test}: exit status 0 with failed tests")
    if started != passed + len(failed) + len(skipped):
        result.fail(f"{test}: {started} tests began, {passed} passed")
    if started == 0:
        result.fail(f"{test}: no test in it ran")
    return passed


def run_programs(result, directory, builds):
    sources = sorted((ROOT / "tests" / directory).glob("test_*.c"))
    if not sources and directory == "unit":
        result.fail("tests/unit: no tests")
    for source in sources:
        for build in builds:
            program = ROOT / build / "tests" / directory / source.stem
            test = f"{directory}/{source.stem}"
            test += f"[{build.removeprefix('build-')}]" if build != "build" else ""
            if program.exists():
                said = run(result, test, [str(program)], PROGRAM_SECONDS, SANITIZER_ENV)
                count_cmocka(result, test, *said)
            else:
                result.fail(f"{test}: {program.relative_to(ROOT)} was not built")


def probes_compiler(build):
    """The one that made the probes, as it says in them."""
    found = re.search(rb"clang version ([0-9.]+)", (ROOT / build / "bpf/maps.bpf.o").read_bytes())
    return f"clang {found[1].decode()}" if found else "a compiler"


def run_in_kernel(result, kernel, loops):
    """Boots it; in it the probes of each compiler, doctor, and attaches; one line says all."""
    release = kernel.name.removeprefix("vmlinuz-")
    attach = ROOT / "tests/live/other_kernel.py"
    loads = {f"test_load[{build}]": build for build in BPF_BUILDS}
    commands = {test: [ROOT / build / "tests/bpf/test_load"] for test, build in loads.items()}
    commands["doctor"] = [ROOT / "build/loopscope", "doctor"]
    commands |= {f"attach[{loop}]": [sys.executable, attach, loop] for loop in loops}
    files = guest.Files()
    for path in {command[0] for command in commands.values()}:
        files.add(path)
    files.add(sys.prefix)
    files.add(sysconfig.get_path("stdlib"))
    files.add(attach.parent)
    files.add(ROOT / "src/export/report.schema.json")

    failures, began = len(result.failures), time.monotonic()
    answers, rest = guest.run(kernel, files, commands, PROGRAM_SECONDS)
    said = []
    for name in commands:
        test = f"kernel/{release}/{name}"
        status, output = answers.get(name, (None, ""))
        before = len(result.failures)
        if status is None:
            result.fail(f"{test}: no end")
        elif name in loads:
            passed = count_cmocka(result, test, status, output)
            counts = f"{passed} passed, {len(result.failures) - before} failed"
            said.append(f"{probes_compiler(loads[name])}: {counts}")
            continue
        elif status:
            result.fail(f"{test}: exit status {status}")
        else:
            result.passed += 1
        said.append(f"{name}: {'failed' if len(result.failures) > before else 'passed'}")
    if len(result.failures) > failures:
        for name, (_, output) in answers.items():
            print(f"== {release}: {name}\n{output}", end="")
        print(f"== {release}: the rest\n{rest}", end="")
    seconds = time.monotonic() - began
    print(f"kernel {release} in {seconds:.0f} s: {'; '.join(said)}", flush=True)


def run_kernels(result, suites, loops, options=()):
    for suite in suites:
        fetch = ["timeout", str(PROGRAM_SECONDS), ROOT / "tools/kernels.sh", *options, suite]
        found = subprocess.run(fetch, stdout=subprocess.PIPE, text=True, check=False)
        if found.returncode:
            result.fail(f"kernel/{suite}: it is not to be had")
            continue
        try:
            run_in_kernel(result, Path(found.stdout.strip()), loops)
        except OSError as error:
            result.fail(f"kernel/{suite}: {error}")
        result.check_left_behind(f"kernel/{suite}")


def all_suites():
    command = [ROOT / "tools/kernels.sh"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def start_fuzzer(program, source, seconds):
    # What is found goes to the build directory, the seeds are only read.
    corpus = program.with_suffix(".corpus")
    corpus.mkdir(exist_ok=True)
    seeds = ROOT / "tests/fuzz/seeds" / source.stem.removeprefix("fuzz_")
    command = [
        str(program),
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-verbosity=0",
        "-print_final_stats=1",
        f"-artifact_prefix={program}.",
        str(corpus),
    ]
    command += [str(seeds)] if seeds.is_dir() else []
    return Program(f"fuzz/{source.stem}", command, seconds + 60, SANITIZER_ENV)


def end_fuzzer(result, fuzzer):
    status, output = fuzzer.end(result)
    runs = re.search(r"stat::number_of_executed_units: (\d+)", output)
    if status != 0:
        result.fail(f"{fuzzer.test}: exit status {status}")
    elif not runs or int(runs[1]) < 100:
        result.fail(f"{fuzzer.test}: hardly ran")
    else:
        result.passed += 1


def run_fuzz(result):
    """One on each CPU at a time."""
    seconds = int(os.environ.get("FUZZ_TIME", "5"))
    sources = sorted((ROOT / "tests/fuzz").glob("fuzz_*.c"))
    running = []
    if not sources:
        result.fail("tests/fuzz: no fuzzers")
    for source in sources:
        program = ROOT / "build-fuzz/tests/fuzz" / source.stem
        if not program.exists():
            result.fail(f"fuzz/{source.stem}: {program.relative_to(ROOT)} was not built")
            continue
        if len(running) == os.cpu_count():
            end_fuzzer(result, running.pop(0))
        running.append(start_fuzzer(program, source, seconds))
    for fuzzer in running:
        end_fuzzer(result, fuzzer)
    result.check_left_behind("fuzz")


class Pytest:
    """A session of it, and what became of each test."""

    def __init__(self, name, arguments, held=False):
        self.name = name
        self.directory = tempfile.TemporaryDirectory()
        self.summary = Path(self.directory.name) / "summary.json"
        command = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "-p", "strict_pytest"]
        env = {
            "STRICT_PYTEST_SUMMARY": str(self.summary),
            "PYTHONPATH": str(ROOT / "tools"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "",
        }
        self.program = Program(name, [*command, *arguments], PYTEST_SECONDS, env, held)

    def end(self, result):
        """The tests that it knows of."""
        status, _ = self.program.end(result)
        with self.directory:
            if not self.summary.exists():
                result.fail(f"{self.name}: ended with status {status} and without a summary")
                return []
            outcomes = json.loads(self.summary.read_text())
        result.passed += len(outcomes["passed"])
        for test in outcomes["failed"]:
            result.fail(test)
        for test, why in outcomes["not_run"]:
            result.not_run(test, why)
        if not outcomes["passed"]:
            result.fail(f"{self.name}: no test ran")
        if status not in (0, None) and not outcomes["failed"]:
            result.fail(f"{self.name}: exit status {status}")
        return outcomes["passed"] + outcomes["failed"] + [test for test, _ in outcomes["not_run"]]


def run_pytest(result, arguments):
    if arguments:
        Pytest("pytest", arguments).end(result)
        result.check_left_behind("pytest")
        return
    files = [[f"tests/live/test_{name}.py" for name in lane] for lane in SIDE_BY_SIDE]
    lanes = [Pytest(f"pytest {number}", lane, True) for number, lane in enumerate(files, 1)]
    told = sum((lane.end(result) for lane in lanes), [])
    result.check_left_behind("pytest, side by side")
    rest = ["tests", *(f"--ignore={file}" for lane in files for file in lane)]
    told += Pytest("pytest, one after the other", rest).end(result)
    result.check_left_behind("pytest")
    seen = {test.partition("::")[0] for test in told}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT / "tests"))
        if name not in seen:
            result.fail(f"{name}: no test in it ran")


def main(arguments):
    pytest_arguments = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, pytest_arguments = arguments[:at], arguments[at + 1 :]
    if unknown := set(arguments) - set(PARTS + MORE_PARTS):
        known = ", ".join(PARTS + MORE_PARTS)
        sys.exit(f"run-tests: no such part: {', '.join(sorted(unknown))}; {known}")
    parts = arguments or PARTS

    # Whatever a test starts and abandons becomes a child of this process.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit(f"run-tests: prctl: {os.strerror(ctypes.get_errno())}")

    result = Result(allowed_skips())
    if "unit" in parts:
        run_programs(result, "unit", UNIT_BUILDS)
    if "bpf" in parts:
        run_programs(result, "bpf", BPF_BUILDS)
    if "kernel" in parts:
        run_kernels(result, ["own"], ["asyncio"])
    if "kernels" in parts:
        run_kernels(result, all_suites(), ["asyncio", "uvloop"], ["--update"])
    if "fuzz" in parts:
        run_fuzz(result)
    if "pytest" in parts:
        run_pytest(result, pytest_arguments)

    for failure in result.failures:
        print(f"FAILED {failure}")
    print(f"{result.passed} passed, {len(result.failures)} failed")
    return 1 if result.failures or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
