# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait in every way there is, and what the program itself says of them.

    python waiting.py LOOP MODE FOLDER

LOOP is asyncio or uvloop, MODE is waiting, running or eager. Writes FOLDER/ready when all is
still, waits for FOLDER/go, and writes FOLDER/truth.json: of each task of each loop its
id, name, thread, state, what it is meant to wait for, and its frames, innermost first.
A task named "A > B" is awaited by the task A.
"""

import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
import threading
import time
import types

import anyio

DEEP = 300
FOREVER = 3600
OLD = sys.version_info < (3, 12)


async def sleep():
    await asyncio.sleep(FOREVER)


async def future():
    await asyncio.get_running_loop().create_future()


async def queue_get():
    await asyncio.Queue().get()


async def queue_put():
    full = asyncio.Queue(1)
    await full.put(1)
    await full.put(
        2,
    )


async def event():
    await asyncio.Event().wait()


async def lock():
    held = asyncio.Lock()
    await held.acquire()
    async with held:
        pass


async def semaphore():
    async with asyncio.Semaphore(0):
        pass


async def condition():
    changed = asyncio.Condition()
    async with changed:
        await changed.wait()


async def gather():
    await asyncio.gather(
        asyncio.create_task(sleep(), name="gather > one"),
        asyncio.create_task(event(), name="gather > two"),
    )


async def gather_coroutines():
    await asyncio.gather(sleep(), queue_get(), asyncio.gather(sleep(), sleep()))


async def task_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep(), name="task_group > one")
        group.create_task(future(), name="task_group > two")


async def task_group_body():
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep(), name="task_group_body > one")
        await asyncio.sleep(FOREVER)


async def wait():
    await asyncio.wait([asyncio.create_task(sleep(), name="wait > one")])


async def wait_for():
    await asyncio.wait_for(sleep(), FOREVER)


async def shield():
    await asyncio.shield(asyncio.create_task(sleep(), name="shield > one"))


async def task():
    await asyncio.create_task(sleep(), name="task > one")


shared = None


async def first_of_two():
    global shared
    shared = asyncio.create_task(sleep(), name="shared")
    await shared


async def second_of_two():
    while shared is None:
        await asyncio.sleep(0)
    await asyncio.gather(shared)


async def numbers():
    yield 1
    await asyncio.sleep(FOREVER)
    yield 2


async def doubled():
    async for number in numbers():
        yield number * 2


async def async_for():
    async for _ in doubled():
        pass


async def asend():
    generator = numbers()
    await generator.asend(None)
    await generator.asend(1)


async def anext_default():
    generator = numbers()
    await anext(generator, None)
    await anext(generator, None)


async def athrow():
    async def catching():
        try:
            yield 1
        except KeyError:
            await asyncio.sleep(FOREVER)
            yield 2

    generator = catching()
    await anext(generator)
    await generator.athrow(KeyError)


async def comprehension():
    return [number async for number in numbers() if number]


class Awaited:
    def __await__(self):
        yield from asyncio.sleep(FOREVER).__await__()


class Wrapping:
    def __await__(self):
        return asyncio.sleep(FOREVER).__await__()


class Iterating:
    """An awaitable that is no coroutine at all."""

    def __init__(self):
        self.future = asyncio.get_running_loop().create_future()

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        self.future._asyncio_future_blocking = True
        return self.future


async def awaited():
    await Awaited()


async def wrapping():
    await Wrapping()


async def iterating():
    await Iterating()


@types.coroutine
def from_generator():
    yield from asyncio.sleep(FOREVER)


async def generator():
    await from_generator()


@contextlib.asynccontextmanager
async def managed():
    yield 1
    await asyncio.sleep(FOREVER)


async def manager():
    async with managed():
        pass


async def deep(left=DEEP):
    if left:
        await deep(left - 1)
    else:
        await asyncio.sleep(FOREVER)


async def many_locals():
    names = {f"name_{n}": n for n in range(400)}
    space = {"asyncio": asyncio, "FOREVER": FOREVER}
    body = "\n".join(f"  {name} = {value}" for name, value in names.items())
    exec(f"async def wide():\n{body}\n  await asyncio.sleep(FOREVER)", space)
    kept.append(space["wide"])
    await space["wide"]()


async def timeout():
    async with asyncio.timeout(FOREVER):
        await asyncio.sleep(FOREVER)


async def to_thread():
    await asyncio.to_thread(stop.wait)


async def executor():
    await asyncio.get_running_loop().run_in_executor(None, stop.wait)


async def stream():
    near, far = socket.socketpair()
    kept.append(far)
    reader, writer = await asyncio.open_connection(sock=near)
    kept.append(writer)
    await reader.readexactly(
        10,
    )


async def subprocess():
    process = await asyncio.create_subprocess_exec("sleep", str(FOREVER))
    kept.append(process)
    await process.wait()


async def anyio_group():
    async with anyio.create_task_group() as group:
        group.start_soon(sleep, name="anyio_group > one")
        group.start_soon(event, name="anyio_group > two")


async def anyio_event():
    await anyio.Event().wait()


async def anyio_lock():
    held = anyio.Lock()

    async def holder():
        async with held:
            await anyio.sleep(FOREVER)

    asyncio.create_task(holder(), name="anyio_lock holder")
    await asyncio.sleep(0.01)
    async with held:
        pass


async def anyio_stream():
    send, receive = anyio.create_memory_object_stream(1)
    kept.append(send)
    await receive.receive()


async def anyio_thread():
    await anyio.to_thread.run_sync(stop.wait)


async def refuses():
    try:
        await asyncio.sleep(FOREVER)
    except asyncio.CancelledError:
        await asyncio.Event().wait()


#: What each of them is meant to wait for.
KINDS = {
    sleep: "timer", future: "future", queue_get: "queue", queue_put: "queue", event: "event",
    lock: "lock", semaphore: "lock", condition: "lock", gather: "task",
    gather_coroutines: "task", task_group: "task", task_group_body: "timer", wait: "task",
    wait_for: "task" if OLD else "timer", shield: "task", task: "task", first_of_two: "task",
    second_of_two: "task", async_for: "timer", asend: "timer", anext_default: "timer",
    athrow: "timer", comprehension: "timer", awaited: "timer", wrapping: "timer",
    iterating: "other", generator: "timer", manager: "timer", deep: "timer",
    many_locals: "timer", timeout: "timer", to_thread: "thread", executor: "thread",
    stream: "socket", subprocess: "subprocess", anyio_group: "task", anyio_event: "event",
    anyio_lock: "lock", anyio_stream: "queue", anyio_thread: "thread", refuses: "event",
}  # fmt: skip

stop = threading.Event()
kept = []
loops = []
kinds = {}


def start(how, **options):
    name = how.__name__
    kinds[name] = KINDS[how]
    made = asyncio.get_running_loop().create_task(how(), name=name, **options)
    kept.append(made)
    return made


def eager(coroutine, name):
    return asyncio.Task(
        coroutine, loop=asyncio.get_running_loop(), name=name, eager_start=True
    )


async def main(folder):
    loops.append((asyncio.get_running_loop(), threading.get_native_id()))
    for how in KINDS:
        start(how)
    await asyncio.sleep(0.05)
    next(made for made in kept if getattr(made, "get_name", str)() == "refuses").cancel()
    kept.append(asyncio.create_task(sleep(), name="größe 日本"))
    kept.append(asyncio.create_task(sleep(), name="long " * 80))
    kept.append(asyncio.create_task(sleep(), name=4711))
    kept.extend(asyncio.create_task(sleep()) for _ in range(3))
    if not OLD:
        kept.append(eager(sleep(), "eager"))
    open(f"{folder}/started", "w").close()
    await asyncio.Event().wait()


async def busy(mode, folder):
    loops.append((asyncio.get_running_loop(), threading.get_native_id()))
    kept.append(asyncio.create_task(sleep(), name="beside it"))
    await asyncio.sleep(0.05)

    async def inner():
        open(f"{folder}/started", "w").close()
        time.sleep(FOREVER)

    async def numbers():
        await inner()
        yield 1

    async def outer():
        async for _ in numbers():
            pass

    if mode == "eager":
        eager(outer(), "in its first step")
    await outer()


async def other_loop():
    loops.append((asyncio.get_running_loop(), threading.get_native_id()))
    kept.append(asyncio.create_task(event(), name="of another loop"))
    await sleep()


def closed_loop():
    loop = asyncio.new_event_loop()
    kept.append(loop.create_task(queue_get(), name="of a closed loop"))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    loops.append((loop, None))


# ---- what the program says of itself -----------------------------------------------------


def place(frame):
    code = frame.f_code
    return (code.co_filename, code.co_qualname, code.co_name, frame.f_lineno)


def chain_of(coroutine):
    """Its frames, innermost first; None for a coroutine that runs."""
    frames = []
    at = coroutine
    while at is not None:
        for prefix in ("cr", "gi", "ag"):
            if hasattr(at, f"{prefix}_frame"):
                if getattr(at, f"{prefix}_running") and not frames:
                    return None
                frames.insert(0, place(getattr(at, f"{prefix}_frame")))
                at = getattr(at, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")
                break
        else:
            inner = [
                one
                for one in gc.get_referents(at)
                if isinstance(one, (types.CoroutineType, types.AsyncGeneratorType))
                or type(one).__name__.startswith("async_generator_")
            ]
            opaque = not type(at).__name__.startswith(("async_gen", "coroutine_w", "anext_a"))
            at = None if opaque or not inner else inner[0]
    return frames


def stack_of(ident, last):
    frames = []
    frame = sys._current_frames()[ident]
    while frame is not None:
        frames.append(place(frame))
        if frame is last:
            return frames
        frame = frame.f_back
    raise AssertionError("its coroutine is not on the stack")


def truth_of(task, tid, ident):
    coroutine = task.get_coro()
    frames = chain_of(coroutine)
    state = "pending"
    if frames is None:
        state = "running"
        frames = stack_of(ident, coroutine.cr_frame)
    return {
        "id": hex(id(task)),
        "name": task.get_name(),
        "loop_tid": tid,
        "state": state,
        "frames": frames,
        "kind": kinds.get(task.get_name()),
    }


def watch(folder, ident):
    while not os.path.exists(f"{folder}/started"):
        time.sleep(0.02)
    time.sleep(0.5)
    open(f"{folder}/ready", "w").close()
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.02)
    truth = [
        truth_of(task, tid, ident) for loop, tid in loops for task in asyncio.all_tasks(loop)
    ]
    with open(f"{folder}/new.json", "w") as file:
        json.dump(truth, file)
    os.rename(f"{folder}/new.json", f"{folder}/truth.json")
    time.sleep(FOREVER)


if __name__ == "__main__":
    _, loop_name, mode, folder = sys.argv
    threading.Thread(target=watch, args=(folder, threading.get_ident()), daemon=True).start()
    if mode == "waiting":
        closed_loop()
        threading.Thread(target=asyncio.run, args=(other_loop(),), daemon=True).start()
    if loop_name == "uvloop":
        import uvloop

        runner = uvloop.new_event_loop()
    else:
        runner = asyncio.new_event_loop()
    asyncio.set_event_loop(runner)
    runner.run_until_complete(main(folder) if mode == "waiting" else busy(mode, folder))
