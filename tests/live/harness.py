# SPDX-License-Identifier: Apache-2.0
"""What live tests are made of: interpreters, services, load, and loopscope beside them.

Everything that is started here is a context manager and is ended by its own
pid, whatever happened in the block.

    with Service("stalls:app", loop="uvloop") as service:
        with attached(service, "--stall", 4) as run:
            get(service, "/sleep/50")
    assert run.status == 0
    assert [f["route"] for f in run.findings("blocking_call")] == ["/sleep/{ms}"]
    assert len(service.truth("blocking_call")) == 1
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
SERVICES = Path(__file__).resolve().parent / "services"
LOOPSCOPE = Path(os.environ.get("LOOPSCOPE", ROOT / "build/loopscope"))
LOOPS = ("asyncio", "uvloop")
#: What the tests need to be there; "3.12" is either build.
INTERPRETERS = (
    "3.11-static",
    "3.11-shared",
    "3.12",
    "3.13-static",
    "3.13-shared",
    "3.14-static",
    "3.14-shared",
)
HOST = "127.0.0.1"
MEMORY = "/dev/shm"
START_SECONDS = 30
ATTACH_SECONDS = 15
STOP_SECONDS = 10
REPORT_SECONDS = 20
ENTER_ROOT = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


@cache
def own_mounts():
    """The command in front of one that mounts, for itself alone."""
    command = ["unshare", "--mount"]
    # Below a root that is no mount point (chroot) there is nothing to make private.
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        command += ["--propagation", "unchanged"]
    return command


# ---- interpreters ----------------------------------------------------------------


@dataclass(frozen=True)
class Interpreter:
    """A python that has tests/requirements-live.txt, perhaps in a root of its own."""

    version: str
    link: str
    python: str
    root: str | None = None

    def command(self, *arguments):
        """The command line that runs it; exec all the way, so the pid is its own."""
        command = [self.python, *map(str, arguments)]
        if self.root is None:
            return command
        return [*own_mounts(), "sh", "-c", ENTER_ROOT, self.root, *command]

    def outside(self, path):
        """Where this process finds what the interpreter calls that."""
        return Path(f"{self.root or ''}{path}")

    def folder(self):
        """A new folder, as the interpreter calls it."""
        (self.outside("/tmp")).mkdir(exist_ok=True)
        made = tempfile.mkdtemp(prefix="loopscope-", dir=self.outside("/tmp"))
        os.chmod(made, 0o755)
        return made.removeprefix(self.root or "")

    def __str__(self):
        return f"{self.version}-{self.link}"


def own_interpreter():
    """The one that runs the tests: enough for whatever is not about interpreters."""
    shared = "libpython" in Path("/proc/self/maps").read_text()
    version = sysconfig.get_python_version() + f".{sys.version_info.micro}"
    return Interpreter(version, "shared" if shared else "static", sys.executable)


@cache
def interpreters():
    """All that tools/interpreters.sh brings, and what it says is missing."""
    run = subprocess.run(
        [ROOT / "tools/interpreters.sh", "--live"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return [Interpreter(*line.split()) for line in run.stdout.splitlines()], run.stderr


def find_interpreter(name):
    """The first that is called so, like "3.13-shared" or "3.12"."""
    version, _, link = name.partition("-")
    there, complaint = interpreters()
    for interpreter in there:
        if interpreter.version.startswith(f"{version}.") and link in ("", interpreter.link):
            return interpreter
    raise LookupError(f"no interpreter {name}: {complaint.strip()}")


# ---- processes --------------------------------------------------------------------


def wait_until(condition, seconds, what):
    """Poll until it is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return value


def end(process, how=signal.SIGTERM, seconds=STOP_SECONDS):
    """End a process that leads a group of its own, and what is left of the group."""
    try:
        if process.poll() is None:
            process.send_signal(how)
            process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@contextmanager
def reserved_port():
    """A port that the kernel gives to nobody else while the block runs.

    A server that sets SO_REUSEADDR, as nearly all do, may listen at it meanwhile.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, 0))
        yield probe.getsockname()[1]


def listening(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def listening_at(path):
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


def unread(port, client_port=0):
    """What a server has not read yet of a connection to its port, in bytes.

    Without a client's port: how many connections it has not accepted. See proc_net(5).
    """
    ends = f"{port:04X}", f"{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if tuple(field.rpartition(":")[2] for field in fields[1:3]) == ends:
            return int(fields[4].rpartition(":")[2], 16)
    raise LookupError(f"no socket between the ports {port} and {client_port}")


def thread_stat(pid, name, tid=None):
    """One number of /proc/PID/task/TID/stat by the name that proc(5) gives it."""
    names = {"minflt": 7, "majflt": 9, "utime": 11, "stime": 12, "starttime": 19}
    text = Path(f"/proc/{pid}/task/{tid or pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[names[name]])


def sleeps_in(pid, tid=None):
    """The number of the system call in which a thread sleeps as text; None while it runs.

    The kernel answers with a number only when the thread is off its CPU: proc_pid_syscall()
    of fs/proc/base.c.
    """
    number = Path(f"/proc/{pid}/task/{tid or pid}/syscall").read_text().split()[0]
    return None if number == "running" else number


def stolen_ms():
    """What a hypervisor has taken of all CPUs so far, in whole ticks: see proc_stat(5)."""
    ticks = Path("/proc/stat").read_text().partition("\n")[0].split()[8]
    return int(ticks) * 1000 / os.sysconf("SC_CLK_TCK")


class Service:
    """An application of services/ under uvicorn, from the first answer to its end.

    app          "module:attribute" below services/ (or below app_folder)
    loop         "asyncio" or "uvloop"
    interpreter  an Interpreter; the tests' own by default
    arguments    more for uvicorn, such as "--workers", 2
    env          more environment; LOOPSCOPE_TRUTH is set
    cpu          the CPU it is kept on
    unix         it listens at its `socket`, a path, and on no port
    prefix       a command to start it with, such as ("taskset", "-c", "0")
    headers      lines that drive() and get() add to each request
    """

    def __init__(
        self,
        app,
        *,
        loop="asyncio",
        interpreter=None,
        arguments=(),
        env=None,
        cpu=None,
        prefix=(),
        app_folder=SERVICES,
        unix=False,
        headers=(),
    ):
        self.app = app
        self.loop = loop
        self.interpreter = interpreter or own_interpreter()
        self.arguments = [str(argument) for argument in arguments]
        self.cpu = cpu
        self.prefix = list(prefix)
        self.app_folder = Path(app_folder)
        self.unix = unix
        self.headers = headers
        self.more_env = env or {}
        self.process = None
        self.port = None
        self.memory = None

    def __enter__(self):
        self.folder = self.interpreter.folder()
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        if self.process is not None:
            end(self.process)
        shutil.rmtree(self._outside(""), ignore_errors=True)
        if self.memory is not None:
            shutil.rmtree(self.memory, ignore_errors=True)

    def _outside(self, name):
        return self.interpreter.outside(f"{self.folder}/{name}")

    def _start(self):
        where = str(self.app_folder)
        if self.interpreter.root is not None:
            where = f"{self.folder}/services"
            shutil.copytree(
                self.app_folder,
                self.interpreter.outside(where),
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        elif os.access(MEMORY, os.W_OK):
            # To write to a disk may block for milliseconds, which is found, rightly.
            self.memory = tempfile.mkdtemp(prefix="loopscope-", dir=MEMORY)
            self._outside("truth.jsonl").symlink_to(f"{self.memory}/truth.jsonl")
        self.sources = where
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= {
            "LOOPSCOPE_TRUTH": f"{self.folder}/truth.jsonl",
            "LOOPSCOPE_FOLDER": self.folder,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        env |= {name: str(value) for name, value in self.more_env.items()}
        for attempt in range(3):
            # What listens there is this service, and not one of another run.
            with reserved_port() as self.port:
                self._launch(where, env)
            if self.process.poll() is None:
                return
            if "address already in use" not in self.output or attempt == 2:
                raise RuntimeError(f"{self.app} ended: {self.output}")

    def _launch(self, where, env):
        uvicorn = ["-m", "uvicorn", self.app, "--app-dir", where]
        if self.unix:
            uvicorn += ["--uds", f"{self.folder}/socket"]
        else:
            uvicorn += ["--host", HOST, "--port", str(self.port)]
        uvicorn += ["--loop", self.loop, "--no-access-log"]
        uvicorn += ["--log-level", "warning", *self.arguments]
        command = self.prefix + self.interpreter.command(*uvicorn)
        with self._outside("output").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.cpu is not None:
            os.sched_setaffinity(self.process.pid, {self.cpu})
        wait_until(
            lambda: self.process.poll() is not None or self._listens(),
            START_SECONDS,
            f"{self.app} on port {self.port}: {self.output}",
        )

    def _listens(self):
        return listening_at(self.socket) if self.unix else listening(self.port)

    @property
    def pid(self):
        return self.process.pid

    @property
    def socket(self):
        return self._outside("socket")

    @property
    def output(self):
        return self._outside("output").read_text(errors="replace")

    def truth(self, kind=None, route=None):
        """What the service says it did (services/truth.py), of one kind and route."""
        path = self._outside("truth.jsonl")
        if not path.exists():
            return []
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            line
            for line in lines
            if kind in (None, line["kind"]) and route in (None, line["route"])
        ]


def length_ms(line):
    """Of a line of the truth: the block itself, without waiting for a CPU."""
    return (line["end_ns"] - line["start_ns"] - line["run_delay_ns"]) / 1e6


@contextmanager
def cpu_hogs(cpu, count):
    """Processes that keep one CPU busy."""
    command = [sys.executable, SERVICES / "starved.py", str(cpu), str(count)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        end(process, signal.SIGKILL)


# ---- load --------------------------------------------------------------------------


@dataclass
class Answer:
    """A response, and how long it took from the first byte sent."""

    status: int
    headers: dict
    body: bytes
    seconds: float

    def json(self):
        return json.loads(self.body)


class Connection:
    """A keep-alive HTTP/1.1 connection; made again when the server closed it."""

    def __init__(self, port, headers=()):
        self.port = port
        self.headers = "".join(f"{line}\r\n" for line in headers)
        self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port)

    async def request(self, method, path):
        if self.writer is None:
            await self.open()
        length = "" if method in ("GET", "HEAD") else "content-length: 0\r\n"
        began = time.monotonic()
        head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n{self.headers}{length}\r\n"
        self.writer.write(head.encode())
        status = int((await self.reader.readline()).split()[1])
        headers = {}
        while (line := await self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = await self._body(status, headers)
        answer = Answer(status, headers, body, time.monotonic() - began)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    async def _body(self, status, headers):
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
            return body
        return await self.reader.readexactly(int(headers.get("content-length", 0)))

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def drive_async(service, requests, concurrency=4, interval_s=0.0, stop=None):
    """See drive(); for use in a loop that the caller has."""
    todo = iter(requests)
    answers = []

    async def work():
        connection = Connection(service.port, getattr(service, "headers", ()))
        try:
            for request in todo:
                if stop is not None and stop.is_set():
                    break
                method, path = request if not isinstance(request, str) else ("GET", request)
                answers.append(await connection.request(method, path))
                if interval_s:
                    await asyncio.sleep(interval_s)
        finally:
            connection.close()

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return answers


def drive(service, requests, concurrency=4, interval_s=0.0):
    """Send requests, paths or (method, path), over so many keep-alive connections.

    Returns the answers in the order in which they came.
    """
    return asyncio.run(drive_async(service, requests, concurrency, interval_s))


def get(service, path, method="GET"):
    """One request on a connection of its own."""
    return drive(service, [(method, path)], concurrency=1)[0]


@dataclass
class Load:
    """What loading() has driven so far; all of it after the block."""

    answers: list = field(default_factory=list)
    error: BaseException | None = None


@contextmanager
def loading(service, requests, concurrency=4, interval_s=0.0):
    """Drive requests (an endless iterator will do) in a thread while the block runs."""
    load = Load()
    stop = threading.Event()

    def run():
        try:
            load.answers += asyncio.run(
                drive_async(service, requests, concurrency, interval_s, stop)
            )
        except BaseException as error:  # noqa: BLE001
            load.error = error

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()
    if load.error is not None:
        raise load.error


# ---- loopscope ---------------------------------------------------------------------


@dataclass
class Run:
    """loopscope beside a block; status and report are there once it has ended."""

    process: subprocess.Popen
    folder: Path
    status: int | None = None
    report: dict | None = None
    attached: float | None = None  # time.monotonic() when the probes were there
    interrupted: float | None = None  # and when it was told to end
    texts: dict = field(default_factory=dict)

    @property
    def pid(self):
        return self.process.pid

    def text(self, name):
        """What it has printed there so far."""
        if name in self.texts:
            return self.texts[name]
        return (self.folder / name).read_text(errors="replace")

    @property
    def stdout(self):
        return self.text("stdout")

    @property
    def stderr(self):
        return self.text("stderr")

    def wait_for(self, text, seconds=5.0, stream="stderr"):
        """Until it has printed that; how many seconds that took."""
        began = time.monotonic()
        wait_until(
            lambda: text in self.text(stream),
            seconds,
            f"{text!r} on {stream}, which has {self.text(stream)!r}",
        )
        return time.monotonic() - began

    def findings(self, kind=None, route=None):
        return [
            finding
            for finding in self.report["findings"]
            if kind in (None, finding["kind"]) and route in (None, finding["route"])
        ]


class Readiness:
    """Where a process says that it is ready: see sd_notify(3)."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")  # an abstract name of the kernel's choice
        name = self.socket.getsockname().decode().replace("\0", "@", 1)
        self.env = {**os.environ, "NOTIFY_SOCKET": name}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def wait(self, process):
        """Until it says so, or has ended; when that was."""
        deadline = time.monotonic() + ATTACH_SECONDS
        self.socket.settimeout(0.05)
        while process.poll() is None and time.monotonic() < deadline:
            try:
                assert self.socket.recv(4096) == b"READY=1"
            except TimeoutError:
                continue
            return time.monotonic()
        if process.poll() is None:
            raise TimeoutError(f"not attached after {ATTACH_SECONDS} s")
        return time.monotonic()


@contextmanager
def attached(target, *options, json_report=True, wait=True, command=None, interrupt=True):
    """loopscope attach to a Service or pid while the block runs; yields its Run.

    target       None when a command or the options say it
    options      more of them, such as "--stall", 4
    json_report  also have the JSON report, as run.report afterwards
    wait         begin the block only when it observes
    command      attach to this command instead (attach -- COMMAND)
    interrupt    False: it ends by itself (-d)
    """
    pid = target if isinstance(target, int) else getattr(target, "pid", None)
    with tempfile.TemporaryDirectory(prefix="loopscope-run-") as name:
        folder = Path(name)
        line = [LOOPSCOPE, "attach"]
        line += ["-p", pid] if pid is not None and command is None else []
        line += ["-o", f"{folder}/report.json"] if json_report else []
        line += options
        line += ["--", *command] if command is not None else []
        with (
            Readiness() as readiness,
            (folder / "stdout").open("wb") as out,
            (folder / "stderr").open("wb") as err,
        ):
            process = subprocess.Popen(
                [str(word) for word in line],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=readiness.env,
            )
            run = Run(process, folder)
            try:
                if wait:
                    run.attached = readiness.wait(process)
            except BaseException:
                end(process, signal.SIGKILL)
                raise
        try:
            yield run
            if interrupt and process.poll() is None:
                run.interrupted = time.monotonic()
                process.send_signal(signal.SIGINT)
            run.status = process.wait(REPORT_SECONDS)
        finally:
            end(process, signal.SIGKILL)
            _keep(run)


def _keep(run):
    """Read what the folder has before it goes."""
    report = run.folder / "report.json"
    run.texts = {name: run.text(name) for name in ("stdout", "stderr")}
    if run.status is not None and report.exists() and report.stat().st_size:
        run.report = checked(json.loads(report.read_text()))


@cache
def report_validator():
    schema = json.loads((ROOT / "src/export/report.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def checked(report):
    """The report, once it is what the schema promises and its events add up."""
    report_validator().validate(report)
    loss = report["loss"]
    assert loss["produced"] - loss["received"] - sum(loss["lost"].values()) == 0, loss
    return report


def loopscope(*arguments, seconds=60, env=None):
    """Run loopscope to its end: status, stdout and stderr as subprocess.run has them."""
    return subprocess.run(
        [str(LOOPSCOPE), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **(env or {})},
        check=False,
    )
