# SPDX-License-Identifier: Apache-2.0
"""Tasks and await chains are what the program itself says they are.

services/waiting.py has a task for every way to wait, and walks them itself
(asyncio.all_tasks(), cr_await); for each CPython, on both loops.
"""

import json
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from harness import SERVICES, Service, end, get, loading, loopscope, own_interpreter, wait_until

START_SECONDS = 30
FIELDS = [
    "id", "name", "loop_tid", "state", "frames", "waits_for", "awaited_by", "route", "method"
]  # fmt: skip


class Program:
    """services/waiting.py with an interpreter, in a folder of its own."""

    def __init__(self, interpreter, loop, mode):
        self.interpreter = interpreter
        self.folder = interpreter.folder()
        script = f"{self.folder}/waiting.py"
        shutil.copy(SERVICES / "waiting.py", interpreter.outside(script))
        self.process = subprocess.Popen(
            interpreter.command(script, loop, mode, self.folder),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self.process.pid

    def path(self, name):
        return self.interpreter.outside(f"{self.folder}/{name}")

    def wait(self, name):
        path = self.path(name)
        wait_until(
            lambda: path.exists() or self.process.poll() is not None, START_SECONDS, name
        )
        assert path.exists(), self.process.stderr.read()

    def truth(self):
        self.path("go").touch()
        self.wait("truth.json")
        return {line["id"]: line for line in json.loads(self.path("truth.json").read_text())}


@contextmanager
def program(interpreter, loop, mode):
    running = Program(interpreter, loop, mode)
    try:
        running.wait("ready")
        yield running
    finally:
        end(running.process, signal.SIGKILL)
        running.process.stderr.close()
        shutil.rmtree(interpreter.outside(running.folder), ignore_errors=True)


def dump(pid):
    """The tasks of the only process, by id, and what is partial."""
    run = loopscope("dump", "--json", "-p", pid)
    assert (run.returncode, run.stderr) == (0, "")
    said = json.loads(run.stdout)
    [target] = [target for target in said["targets"] if target["pid"] == pid]
    for task in target["tasks"]:
        assert list(task) == FIELDS
    tasks = {task["id"]: task for task in target["tasks"]}
    assert len(tasks) == len(target["tasks"])
    return tasks, said["partial"]


def frames_of(task):
    return [[f["file"], f["qualname"], f["function"], f["line"]] for f in task["frames"]]


def compare(tasks, truth):
    assert {task["name"] for task in tasks.values()} == {true["name"] for true in truth.values()}
    assert set(tasks) == set(truth)
    for id, true in truth.items():
        said = tasks[id]
        assert said["name"] == true["name"]
        assert frames_of(said) == true["frames"], true["name"]
        assert (said["state"], said["loop_tid"]) == (true["state"], true["loop_tid"])
        assert (said["route"], said["method"]) == (None, None)


def test_waiting(interpreter, loop):
    with program(interpreter, loop, "waiting") as running:
        before, partial = dump(running.pid)  # names that nobody has asked for yet
        assert partial == {"tasks_dropped": 0, "reasons": {}}
        truth = running.truth()
        after, partial = dump(running.pid)
        assert partial == {"tasks_dropped": 0, "reasons": {}}
        text = loopscope("dump", "-p", running.pid).stdout
    assert len(truth) > 60
    assert max(len(true["frames"]) for true in truth.values()) > 300
    for tasks in (before, after):
        compare(tasks, truth)
        check_waits(tasks, truth)
    for task in after.values():
        assert f"task {task['name']}  " in text


def check_waits(tasks, truth):
    names = {task["name"]: task for task in tasks.values()}
    for id, true in truth.items():
        said = tasks[id]
        if true["kind"]:
            assert said["waits_for"]["kind"] == true["kind"], true["name"]
        parent, arrow, _ = true["name"].partition(" > ")
        if arrow:
            assert said["awaited_by"] == [names[parent]["id"]], true["name"]
    for task in tasks.values():
        for parent in task["awaited_by"]:
            if tasks[parent]["waits_for"]["kind"] == "task":
                assert task["id"] in tasks[parent]["waits_for"]["tasks"]
    assert children(names["gather"], tasks) == ["gather > one", "gather > two"]
    assert children(names["task_group"], tasks) == ["task_group > one", "task_group > two"]
    assert children(names["anyio_group"], tasks) == ["anyio_group > one", "anyio_group > two"]
    assert len(names["gather_coroutines"]["waits_for"]["tasks"]) == 4
    both = {names["first_of_two"]["id"], names["second_of_two"]["id"]}
    assert set(names["shared"]["awaited_by"]) == both
    waited = names["wait_for"]["waits_for"]
    assert len(waited["tasks"]) == (waited["kind"] == "task")
    assert names["iterating"]["waits_for"]["detail"] == "Iterating"


def children(task, tasks):
    return sorted(tasks[child]["name"] for child in task["waits_for"]["tasks"])


@pytest.mark.parametrize("mode", ["running", "eager"])
def test_running(interpreter, loop, mode):
    if interpreter.version.startswith("3.11."):
        mode = "running"  # it has no eager tasks
    with program(interpreter, loop, mode) as running:
        tasks, partial = dump(running.pid)
        truth = running.truth()
    assert partial == {"tasks_dropped": 0, "reasons": {}}
    compare(tasks, truth)
    busy = [task for task in tasks.values() if task["state"] == "running"]
    assert len(busy) == (2 if mode == "eager" else 1)
    for task in busy:
        assert task["waits_for"] is None
        functions = [frame["function"] for frame in task["frames"]]
        assert functions[-4:-1] == ["inner", "numbers", "outer"] or mode == "eager"
        assert functions[0] == "inner"


def test_routes(loop):
    with Service("waits:app", loop=loop) as service:
        get(service, "/")
        requests = iter([("GET", "/items/7"), ("POST", "/threads/3"), ("GET", "/both/1")])
        with loading(service, requests, concurrency=3):
            names = wait_until(lambda: routed(service), 10, "three requests that wait")
            text = loopscope("dump", "-p", service.pid).stdout
            get(service, "/go")
    assert "  GET /items/{number}\n" in text
    assert "  waits for thread (" in text
    assert sorted(names) == [
        ("GET", "/both/{number}", ("event", "event", "task")),
        ("GET", "/items/{number}", ("event",)),
        ("POST", "/threads/{number}", ("thread",)),
    ]


def routed(service):
    """(method, route, kinds) of the requests, once all wait for what they will wait for."""
    tasks, _ = dump(service.pid)
    routes = {}
    for task in tasks.values():
        if task["route"]:
            kind = task["waits_for"]["kind"] if task["waits_for"] else task["state"]
            routes.setdefault((task["method"], task["route"]), []).append(kind)
    found = [(*route, tuple(sorted(kinds))) for route, kinds in routes.items()]
    done = sum(map(len, routes.values())) == 5 and "running" not in str(found)
    return found if done and "thread" in str(found) else None


CHANGING = """
import asyncio, sys

async def leaf(n):
    await asyncio.sleep(0)
    await asyncio.sleep(0.0001 * n)

async def one(n):
    await leaf(n % 3)
    await two(n)

async def two(n):
    await asyncio.gather(leaf(n % 2), leaf(n % 5))

async def work(n):
    while True:
        await one(n)

async def main():
    for n in range(200):
        asyncio.create_task(work(n), name=f"work {n}")
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""
#: Function, and the functions that it can be seen to await.
CALLS = {
    "work": {"one"}, "one": {"leaf", "two"}, "two": set(), "leaf": {"sleep", "__sleep0"},
    "sleep": {"__sleep0"}, "__sleep0": set(), "main": {"sleep"},
}  # fmt: skip


def test_tasks_that_change_are_whole_or_dropped(interpreter):
    with started(interpreter, CHANGING) as process:
        whole = 0
        for _ in range(20):
            run = loopscope("dump", "--json", "-p", process.pid)
            assert run.returncode == 0, run.stderr
            said = json.loads(run.stdout)
            [target] = said["targets"]
            dropped = said["partial"]["tasks_dropped"]
            assert dropped == sum(
                count
                for name, count in said["partial"]["reasons"].items()
                if name in ("torn_tasks", "unreadable_tasks", "task_cycle", "task_budget")
            )
            for task in target["tasks"]:
                whole += 1
                if task["state"] == "pending":
                    check_chain(task)
        assert whole > 20 * 100


def check_chain(task):
    functions = [frame["function"] for frame in task["frames"]]
    assert functions[-1] in ("work", "leaf", "main")
    for inner, outer in zip(functions, functions[1:], strict=False):
        assert inner in CALLS[outer], functions


MANY = """
import asyncio, sys

async def deep(left):
    if left:
        await deep(left - 1)
    else:
        await asyncio.Event().wait()

async def main(count, depth):
    sys.setrecursionlimit(50000)
    tasks = [asyncio.create_task(deep(depth)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@contextmanager
def started(interpreter, program, *arguments):
    folder = interpreter.folder()
    script = f"{folder}/program.py"
    interpreter.outside(script).write_text(program)
    process = subprocess.Popen(
        interpreter.command(script, *arguments), stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        end(process, signal.SIGKILL)
        process.stdout.close()
        shutil.rmtree(interpreter.outside(folder), ignore_errors=True)


@pytest.mark.parametrize(("count", "depth"), [(20000, 1), (3, 9000), (1, 11000)])
def test_many_and_deep(count, depth):
    with started(own_interpreter(), MANY, count, depth) as process:
        began = time.monotonic()
        tasks, partial = dump(process.pid)
        assert time.monotonic() - began < 60
    assert len(tasks) == count + 1
    assert partial["tasks_dropped"] == 0
    frames = sorted(len(task["frames"]) for task in tasks.values())[1:]
    if depth < 10000:
        assert partial["reasons"] == {}
        assert frames == [depth + 2] * count
    else:
        assert partial["reasons"] == {"deep_chains": 1}
        assert frames == [10000]
