# SPDX-License-Identifier: Apache-2.0
"""What cannot be done is said in one line, with the exit status that is documented for it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import (
    LOOPSCOPE,
    SERVICES,
    Readiness,
    Service,
    attached,
    end,
    get,
    listening,
    loopscope,
    own_interpreter,
    own_mounts,
    reserved_port,
    wait_until,
)

DONE, USAGE, TARGET, PRIVILEGES, SECOND_SIGNAL = 0, 2, 4, 5, 130
NO_PID = 2**22 + 1
NEVER_S = 60
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
#: The capabilities that the README asks for, and no others.
CAPABLE = ("setpriv", "--bounding-set=-all,+bpf,+perfmon,+sys_ptrace")
NO_LOOP = f"import time; print('ready'); time.sleep({NEVER_S})"
#: A loop that blocks once when the file is there, says for how many ms, and goes on with what
#: `then` says.
LOOP = """
import asyncio, os, sys, time
async def main():
    print("ready", flush=True)
    while not os.path.exists(sys.argv[1]):
        await asyncio.sleep(0.02)
    began = time.monotonic()
    time.sleep(0.06)
    print((time.monotonic() - began) * 1e3, flush=True)
    await asyncio.sleep(0.3)
    {then}
asyncio.run(main())
"""


def refused(run, status, *texts):
    """It ended so, with one line on stderr that says that, and nothing else."""
    assert run.returncode in (status if isinstance(status, tuple) else (status,)), run.stderr
    assert re.fullmatch(r"loopscope: [^\n]+\n", run.stderr), run.stderr
    assert run.stderr[:-1].isprintable()
    for text in texts:
        assert text in run.stderr
    assert run.stdout == ""


def found(run):
    """Its findings, but what the machine alone has part in."""
    return [finding for finding in run.findings() if finding["kind"] != "cpu_starvation"]


def said(run):
    """What others than loopscope, which may be verbose, have said on stderr."""
    return [line for line in run.stderr.splitlines() if not line.startswith("loopscope: ")]


@contextmanager
def running(*command, **more):
    """A command that prints "ready" when it is."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **more,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        end(process, signal.SIGKILL)
        process.stdout.close()


def python(code, *arguments, executable=None, **more):
    return running(executable or sys.executable, "-u", "-c", code, *arguments, **more)


@pytest.fixture
def program(tmp_path):
    """Writes code to a file: what has none is no application code."""

    def write(code):
        path = tmp_path / "program.py"
        path.write_text(code)
        return path

    return write


def run_as(prefix, *arguments, seconds=60):
    """loopscope behind a command that takes something away from it."""
    return subprocess.run(
        [*map(str, prefix), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture(scope="module")
def everybody(tmp_path_factory):
    """loopscope where everybody may run it."""
    folder = tmp_path_factory.mktemp("program")
    for above in (folder, *folder.parents):
        if str(above).startswith("/tmp/"):
            above.chmod(above.stat().st_mode | 0o055)
    return shutil.copy(LOOPSCOPE, folder)


# ---- targets -----------------------------------------------------------------------


def old_pythons():
    """(executable, version) of interpreters that are not supported."""
    for version in ("3.10", "3.9", "3.8"):
        for path in Path("/root/.pyenv/versions").glob(f"{version}.*/bin/python{version}"):
            yield str(path), version


def patched_python(folder):
    """A copy of an interpreter that says of itself that it is 3.10."""
    source = os.path.realpath(sys.executable)
    number = sys.hexversion.to_bytes(4, "little")
    old = (0x030A0000 | sys.hexversion & 0xFFFF).to_bytes(4, "little")
    image = bytearray(Path(source).read_bytes())
    for at in range(0, len(image) - 3, 4):
        if image[at : at + 4] == number:
            image[at : at + 4] = old
    copy = folder / "python"
    copy.write_bytes(image)
    copy.chmod(0o755)
    return str(copy), f"3.10.{sys.version_info.micro}"


@pytest.fixture(scope="module")
def unsupported(tmp_path_factory):
    return next(old_pythons(), None) or patched_python(tmp_path_factory.mktemp("python"))


@pytest.mark.parametrize("command", ["attach", "dump"])
class TestTarget:
    def test_no_such_pid(self, command):
        refused(loopscope(command, "-p", NO_PID), TARGET, str(NO_PID))

    def test_no_python(self, command):
        with running("sh", "-c", f"echo ready; sleep {NEVER_S}") as process:
            refused(loopscope(command, "-p", process.pid), TARGET, "is not a Python process")

    def test_name_that_would_break_the_line(self, command, tmp_path):
        program = shutil.copy("/bin/sleep", tmp_path / "two\nlines\x1b[7m")
        process = subprocess.Popen([program, str(NEVER_S)], start_new_session=True)
        try:
            comm = Path(f"/proc/{process.pid}/comm")
            wait_until(lambda: comm.read_text().startswith("two"), 5, "its name")
            refused(loopscope(command, "-p", process.pid), TARGET, "is not a Python process")
        finally:
            end(process, signal.SIGKILL)

    def test_unsupported_python(self, command, unsupported):
        executable, version = unsupported
        with python(NO_LOOP, executable=executable) as process:
            run = loopscope(command, "-p", process.pid)
            refused(run, TARGET, f"CPython {version}, which is not supported", "3.11 to ")

    def test_nobody_listens(self, command):
        with reserved_port() as port:
            refused(loopscope(command, "--port", port), TARGET, f"port {port}")

    def test_zombie(self, command):
        process = subprocess.Popen(["true"])
        try:
            stat = Path(f"/proc/{process.pid}/stat")
            wait_until(lambda: ") Z " in stat.read_text(), 5, "its end")
            refused(loopscope(command, "-p", process.pid), TARGET, str(process.pid))
        finally:
            process.wait()

    def test_kernel_thread(self, command):
        refused(loopscope(command, "-p", 2), TARGET, "2")


def test_no_event_loop(tmp_path):
    output = tmp_path / "report.json"
    with python(NO_LOOP) as process:
        run = loopscope("attach", "-p", process.pid, "-d", 2, "-o", output)
    refused(run, TARGET, "no event loop")
    assert not output.exists()


def test_loop_that_starts_later(tmp_path, program):
    code = "import time; print('ready', flush=True); time.sleep(1.5)\n"
    code += LOOP.format(then="await asyncio.sleep(60)").replace('print("ready", flush=True)', "")
    (tmp_path / "go").touch()
    with (
        running(sys.executable, program(code), tmp_path / "go") as process,
        attached(process.pid, "-d", 4, interrupt=False) as run,
    ):
        pass
    assert run.status == DONE
    assert run.stderr == ""
    assert len(run.report["targets"][0]["loops"]) == 1
    assert [f["culprit"]["function"] for f in run.findings("blocking_call")] == ["main"]


@pytest.mark.parametrize(
    ("then", "note"),
    [
        ("sys.exit(3)", "ended with exit status 3"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("os.abort()", "was ended by signal 6"),
        (f"os.execlp('sleep', 'sleep', '{NEVER_S}')", "executed another program"),
    ],
)
def test_target_ends_while_attached(tmp_path, program, then, note):
    command = [sys.executable, program(LOOP.format(then=then)), tmp_path / "go"]
    with (
        running(*command, stderr=subprocess.DEVNULL) as process,
        attached(process.pid, "-d", 3, interrupt=False) as run,
    ):
        (tmp_path / "go").touch()
        took = float(process.stdout.readline())
    assert run.status == DONE
    assert run.stderr == ""
    assert [note in text for text in run.report["targets"][0]["notes"]] == [True]
    (finding,) = run.findings("blocking_call")
    assert finding["culprit"]["function"] == "main"
    assert 55 < finding["duration_ms"]["total"] <= took + 1


# ---- privileges and kernels ----------------------------------------------------------


def test_no_privileges(everybody):
    with python(NO_LOOP) as process:
        run = run_as(NOBODY, everybody, "attach", "-p", process.pid, "-d", 1)
        refused(run, PRIVILEGES, "CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE")
        run = run_as(NOBODY, everybody, "dump", "-p", process.pid)
        refused(run, PRIVILEGES, "CAP_SYS_PTRACE")
        run = run_as(NOBODY, everybody, "doctor")
    assert run.returncode == PRIVILEGES
    assert re.fullmatch(r"loopscope: attaching does not work here: [^\n]+\n", run.stderr)
    assert "NO  CAP_BPF" in run.stdout


def test_dump_of_the_own_process_needs_none(everybody):
    # Yama lets relatives alone read a process, unless it says otherwise.
    allow = "import ctypes; ctypes.CDLL(None).prctl(0x59616d61, -1);"
    command = [*NOBODY, "/usr/bin/python3", "-u", "-c", allow + NO_LOOP]
    with running(*command) as process:
        run = run_as(NOBODY, everybody, "dump", "--json", "-p", process.pid)
    assert (run.returncode, run.stderr) == (DONE, "")
    (thread,) = json.loads(run.stdout)["targets"][0]["threads"]
    assert [frame["function"] for frame in thread["frames"]] == ["<module>"]


def test_capabilities_that_suffice(everybody):
    with Service("stalls:app") as service:
        timer = threading.Timer(1.5, get, (service, "/sleep/60"))
        timer.start()
        run = run_as(CAPABLE, everybody, "attach", "-p", service.pid, "-d", 3, "--json")
        timer.join()
    assert (run.returncode, run.stderr) == (DONE, "")
    report = json.loads(run.stdout)
    routes = [f["route"] for f in report["findings"] if f["kind"] != "cpu_starvation"]
    assert routes == ["/sleep/{ms}"]


def test_kernel_without_btf():
    hide = [*own_mounts(), "sh", "-c"]
    hide += ['mount --make-rslave /sys && mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
    with python(NO_LOOP) as process:
        run = run_as(hide, LOOPSCOPE, "attach", "-p", process.pid, "-d", 1)
        refused(run, PRIVILEGES, "BTF", "CONFIG_DEBUG_INFO_BTF")
        run = run_as(hide, LOOPSCOPE, "dump", "-p", process.pid)
        assert run.returncode == DONE
    run = run_as(hide, LOOPSCOPE, "doctor")
    assert run.returncode == PRIVILEGES
    assert "NO  btf" in run.stdout


# ---- files of the target ---------------------------------------------------------------

#: What is found in place of the interpreter, as shell commands in its folder.
HOSTILE = {
    "fifo": "mkfifo python",
    "loop": "ln -s python python",
    "ring": "ln -s other python; ln -s python other",
    "outside": "ln -s /proc/1/root/usr/bin/python3 python",
    "sparse": "truncate -s 1T python",
    "empty": ": > python",
    "folder": "mkdir python",
    "device": "mknod python c 1 5",
    "noise": "head -c 100000 /dev/urandom > python",
    "nothing": "true",
}


@pytest.fixture
def hidden(request, tmp_path):
    """A Python with a loop whose file is hidden from its own root by something else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = shutil.copy(os.path.realpath("/usr/bin/python3"), folder / "python")
    code = LOOP.format(then=f"await asyncio.sleep({NEVER_S})")
    command = [*own_mounts(), program, "-u", "-c", code, tmp_path / "go"]
    with running(*command, env={"PYTHONHOME": "/usr", "PATH": "/usr/bin:/bin"}) as process:
        hide = f"mount -t tmpfs none {folder} && cd {folder} && {HOSTILE[request.param]}"
        # Without --root it would leave a chroot.
        enter = ["nsenter", f"--target={process.pid}", "--mount", "--root", "--wd"]
        subprocess.run([*enter, "sh", "-c", hide], check=True)
        yield process


@pytest.mark.parametrize("hidden", HOSTILE, indirect=True)
def test_hostile_root(hidden, everybody):
    # What is mapped can be read by whoever may look at it, whatever its name is now.
    run = loopscope("dump", "-p", hidden.pid, seconds=20)
    assert (run.returncode, run.stderr) == (DONE, "")
    # Without that capability the name leads to what is no interpreter.
    for command in (["dump"], ["attach", "-d", 1]):
        run = run_as(CAPABLE, everybody, *command, "-p", hidden.pid, seconds=20)
        refused(run, (TARGET, PRIVILEGES), str(hidden.pid))


# ---- outputs -----------------------------------------------------------------------------


def test_output_that_exists(tmp_path):
    there = tmp_path / "there.json"
    there.write_text("precious")
    first = tmp_path / "first.txt"
    run = loopscope("attach", "-p", NO_PID, "-o", first, "-o", there)
    refused(run, USAGE, f"{there} exists", "--force")
    assert there.read_text() == "precious"
    assert not first.exists()


def test_forced_output_is_kept_when_there_is_no_report(tmp_path):
    there, fresh = tmp_path / "there.json", tmp_path / "fresh.json"
    there.write_text("precious")
    run = loopscope("attach", "-p", NO_PID, "--force", "-o", there, "-o", fresh)
    refused(run, TARGET, str(NO_PID))
    assert there.read_text() == "precious"
    assert not fresh.exists()


def test_forced_output_is_replaced(tmp_path):
    there = tmp_path / "there.json"
    there.write_text("x" * 1_000_000)
    with Service("stalls:app") as service:
        run = loopscope("attach", "-p", service.pid, "-d", 1, "--force", "-o", there)
    assert (run.returncode, run.stderr) == (DONE, "")
    assert json.loads(there.read_text())["schema"] == "loopscope.report/1"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing/report.json", "No such file or directory"),
        ("file/report.json", "Not a directory"),
        ("/proc/report.json", "No such file or directory"),
        ("a" * 300 + ".json", "File name too long"),
    ],
)
def test_output_that_cannot_be_written(tmp_path, path, reason):
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    run = loopscope("attach", "-p", NO_PID, "-o", tmp_path / path)
    refused(run, USAGE, "cannot write", path, reason)
    assert sorted(tmp_path.iterdir()) == before


def test_output_without_permission(tmp_path, everybody):
    run = run_as(NOBODY, everybody, "attach", "-p", NO_PID, "-o", "/usr/report.json")
    refused(run, USAGE, "cannot write /usr/report.json: Permission denied")


def test_forced_output_that_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    run = loopscope("attach", "-p", NO_PID, "--force", "-o", tmp_path / "fifo.json", seconds=10)
    refused(run, USAGE, "cannot write", "fifo.json")
    (tmp_path / "folder.json").mkdir()
    run = loopscope("attach", "-p", NO_PID, "--force", "-o", tmp_path / "folder.json")
    refused(run, USAGE, "folder.json", "Is a directory")


def test_two_formats_into_one_file(tmp_path):
    path = tmp_path / "report"
    both = ("-o", f"{path}:json", "-o", f"{path}:text", "--force")
    refused(loopscope("attach", "-p", NO_PID, *both), USAGE, str(path))
    assert not path.exists()


# ---- usage -------------------------------------------------------------------------------

NONSENSE = {
    "-p": ["0", "-1", "x", "1.5", "", "1x", "99999999999", "0x10", " 1", "nan"],
    "--port": ["0", "-1", "65536", "http", "", "80.0"],
    "-d": ["0", "-1", "x", "", "nan", "inf", "1e99", "5 m", "5y", "s"],
    "-r": ["0", "-1", "x", "", "1000", "99.5"],
    "--stall": ["0", "-1", "x", "", "nan", "inf", "1e99", "20ms"],
    "--slow-call": ["-1", "x", "", "nan", "inf", "1e99"],
    "--ring": ["0", "3", "-4", "x", "", "1e9", "2097152"],
    "--drop-events": ["-1", "1001", "x", ""],
    "--fail-on": ["x", "", "cpu_stall:x", "cpu_stall:-1", ":5", "cpu_stall:"],
    "-f": ["x", ""],
    "-o": ["report.unknown", "report", ""],
    "--sort": ["x", ""],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in NONSENSE for value in NONSENSE[option]]
)
def test_nonsense(option, value, tmp_path):
    run = subprocess.run(
        [LOOPSCOPE, "attach", "-p", str(NO_PID), option, value],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=10,
        check=False,
    )
    refused(run, USAGE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["attach"], "name one target"),
        (["attach", "-p", "1", "--port", "80"], "name one target"),
        (["attach", "-p", "1", "--", "true"], "name one target"),
        (["attach", "--"], "name one target"),
        (["attach", "true"], "behind --"),
        (["attach", "-p", "1", "--unknown"], "--unknown"),
        (["attach", "-p", "1", "-Z"], "-Z"),
        (["attach", "-p"], "-p wants a value"),
        (["attach", "-p", "1", "--json=1"], "takes no value"),
        (["attach", "-p", "1", "--stall", "5", "--slow-call", "6"], "--slow-call"),
        (["attach", "-p", "1", "-f", "svg", "--follow"], "--follow"),
        (["dump"], "name one target"),
        (["dump", "-p", "1", "-f", "svg"], "text or json"),
        (["dump", "--", "true"], "only attach starts a command"),
        (["dump", "-p", "1", "-d", "1"], "-d"),
        (["doctor", "-p", "1", "--port", "80"], "name one target"),
        (["doctor", "-f", "folded"], "text or json"),
        (["doctor", "now"], "now"),
        (["unknown"], "no such command"),
        (["--unknown"], "no such command"),
    ],
)
def test_usage(arguments, text):
    refused(loopscope(*arguments), USAGE, text)


# ---- signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_makes_the_report(number):
    with Service("stalls:app") as service, attached(service, interrupt=False) as run:
        get(service, "/sleep/60")
        run.process.send_signal(number)
        run.process.wait(10)
    assert (run.status, run.stderr) == (DONE, "")
    assert [finding["route"] for finding in found(run)] == ["/sleep/{ms}"]
    assert "/sleep/{ms}" in run.stdout


def test_a_second_signal_ends_it_at_once():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    with Service("stalls:app") as service:
        # Its report waits for somebody who reads it.
        readiness = Readiness()
        process = subprocess.Popen(
            [LOOPSCOPE, "attach", "-p", str(service.pid)],
            stdout=writing,
            start_new_session=True,
            env=readiness.env,
        )
        try:
            with readiness:
                readiness.wait(process)
            process.send_signal(signal.SIGINT)
            where = Path(f"/proc/{process.pid}/wchan")
            wait_until(lambda: "pipe_write" in where.read_text(), 10, "its report")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == SECOND_SIGNAL
        finally:
            end(process, signal.SIGKILL)
            os.close(reading)
            os.close(writing)
        assert get(service, "/ping").status == 200


def test_the_target_is_never_traced_or_stopped():
    seen, done = set(), threading.Event()

    def watch(pid):
        while not done.is_set():
            text = Path(f"/proc/{pid}/status").read_text()
            tracer = re.search(r"TracerPid:\s+(\d+)", text)[1]
            seen.add((tracer, re.search(r"State:\s+(\w)", text)[1] in "Tt"))

    with Service("stalls:app") as service:
        watcher = threading.Thread(target=watch, args=(service.pid,))
        watcher.start()
        try:
            with attached(service) as run:
                get(service, "/sleep/60")
                get(service, "/burn/60")
            dump = loopscope("dump", "-p", service.pid)
        finally:
            done.set()
            watcher.join()
    assert run.status == DONE
    assert dump.returncode == DONE
    assert {"/sleep/{ms}", "/burn/{ms}"} <= {finding["route"] for finding in run.findings()}
    assert seen == {("0", False)}


# ---- attach -- COMMAND -----------------------------------------------------------------------


def uvicorn(port):
    arguments = ["-m", "uvicorn", "stalls:app", "--app-dir", SERVICES, "--port", port]
    return own_interpreter().command(*arguments, "--log-level", "warning")


def test_command_is_observed_and_ended(tmp_path):
    with reserved_port() as port, attached(None, command=uvicorn(port), wait=False) as run:
        wait_until(lambda: listening(port), 20, "the service")
        get(type("Started", (), {"port": port}), "/sleep/60")
    assert (run.status, run.stderr) == (DONE, "")
    assert [finding["route"] for finding in run.findings("blocking_call")] == ["/sleep/{ms}"]
    pid = run.report["targets"][0]["pid"]
    assert not Path(f"/proc/{pid}").exists()
    assert not listening(port)


def test_command_that_ends_by_itself(tmp_path, program):
    code = LOOP.format(then="print('bye', file=sys.stderr)")
    command = [sys.executable, program(code), tmp_path / "go"]
    with attached(None, "-v", command=command, wait=False, interrupt=False) as run:
        run.wait_for("ready", 10, "stdout")
        run.wait_for("event loop of pid", 10)
        (tmp_path / "go").touch()
    assert run.status == DONE
    assert said(run) == ["bye"]
    assert run.stdout.startswith("ready\n")
    assert [finding["culprit"]["function"] for finding in found(run)] == ["main"]
    assert "ended with exit status 0" in run.report["targets"][0]["notes"][0]


def test_command_and_ctrl_c():
    """It ends in its own way, and the report comes after its last words."""
    code = """
import asyncio, time
async def main():
    print("ready", flush=True)
    await asyncio.sleep(60)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    time.sleep(0.5)
    print("interrupted", flush=True)
"""
    command = [sys.executable, "-c", code]
    with attached(None, "-v", command=command, wait=False, interrupt=False) as run:
        run.wait_for("ready", 10, "stdout")
        run.wait_for("event loop of pid", 10)
        os.killpg(run.pid, signal.SIGINT)
    assert (run.status, said(run)) == (DONE, [])
    assert run.stdout.startswith("ready\ninterrupted\n"), run.stdout
    assert "loopscope " in run.stdout


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such/program"], "No such file or directory"),
        (["no-such-program"], "No such file or directory"),
        (["/etc/passwd"], "Permission denied"),
        (["/tmp"], "Permission denied"),
    ],
)
def test_command_that_cannot_be_started(command, reason, tmp_path):
    output = tmp_path / "report.json"
    run = loopscope("attach", "-o", output, "--", *command)
    refused(run, TARGET, f"{command[0]} cannot be started: {reason}")
    assert not output.exists()


def test_command_that_is_no_python():
    refused(loopscope("attach", "--", "true"), TARGET, "no event loop")
    run = loopscope("attach", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert run.returncode == TARGET
    assert run.stdout == "out\n"
    assert run.stderr.startswith("err\n")


def test_command_has_the_signals_of_its_caller():
    show = ["grep", "^Sig[BIC]", "/proc/self/status"]

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])

    def signals(*prefix):
        run = subprocess.run(
            [*prefix, *show], capture_output=True, text=True, preexec_fn=ignore, check=False
        )
        return run.stdout

    assert "SigIgn" in signals()
    assert signals(str(LOOPSCOPE), "attach", "--") == signals()
