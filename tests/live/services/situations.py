# SPDX-License-Identifier: Apache-2.0
"""Stacks of every shape, and what the interpreter itself says of them.

    python situations.py threads FOLDER      one thread for each, waiting for good
    python situations.py LOOP FOLDER         one task for each, sleeping once FOLDER/go is there

Writes FOLDER/truth.json: of each the thread or task, and its frames, innermost
first, as (file, qualname, function, line). LOOP is asyncio or uvloop.
"""

import asyncio
import contextlib
import functools
import json
import os
import queue
import select
import socket
import sys
import threading
import time

SLEEP_S = 0.05
DEEP = 108
DEEPER = 500


# ---- where each of them stays -------------------------------------------------------


def in_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def in_sleep():
    time.sleep(3600)


def in_select():
    select.select([], [], [], 3600)


def in_recv():
    near, far = socket.socketpair()
    near.recv(1)
    far.close()


def in_queue():
    queue.SimpleQueue().get()


def in_condition():
    condition = threading.Condition()
    with condition:
        condition.wait(3600)


def in_read():
    reader, writer = os.pipe()
    os.read(
        reader,
        1,
    )
    os.close(writer)


# ---- the situations -------------------------------------------------------------------


def plain(stay):
    stay()


def several_lines(stay):
    value = [
        1,
        (
            stay(),
            2,
        ),
    ]
    return value


def backwards(stay):
    def later(*values):
        return stay()

    return later(
        1,
        2,
        later,
    )


def generator(stay):
    def inner():
        yield 1
        yield stay()

    def outer():
        yield 0
        yield from inner()

    for _ in outer():
        pass


def generator_expression(stay):
    return sum(stay() or 0 for _ in range(2) if _)


def sent_generator(stay):
    def echo():
        while True:
            got = yield
            if got:
                stay()

    waiting = echo()
    next(waiting)
    waiting.send(False)
    waiting.send(True)


def list_comprehension(stay):
    return [
        stay()
        for _ in range(1)
    ]  # fmt: skip


def nested_comprehension(stay):
    return {a: {stay() for b in range(a + 1)} for a in [0]}


def recursion(stay, left=DEEP):
    if left:
        recursion(stay, left - 1)
    else:
        stay()


def deeper_recursion(stay):
    recursion(stay, DEEPER)


def mutual(stay):
    def even(left):
        return odd(left - 1) if left else stay()

    def odd(left):
        return (lambda n: even(n))(left - 1)

    even(20)


class Base:
    def __init__(self, stay):
        self.stay = stay
        self.run()

    def run(self):
        self.step("x", y=1)

    @classmethod
    def make(cls, stay):
        return cls(stay)

    @staticmethod
    def static(stay):
        stay()

    @property
    def value(self):
        return self.stay()

    def __getattr__(self, name):
        if name != "missing":
            raise AttributeError(name)
        return self.value

    def __call__(self):
        return self.missing


class Derived(Base):
    class Inner:
        def method(self, stay):
            return stay()

    def run(self):
        super().run()

    def step(self, *args, **kwargs):
        self.Inner().method(self.stay)


class Calls(Base):
    def run(self):
        pass

    def __lt__(self, other):
        return Calls.static(self.stay)


def methods(stay):
    Derived.make(stay)


def attributes(stay):
    Calls(stay)()


def operators(stay):
    return sorted([Calls(stay), Calls(stay)])


def callbacks(stay):
    """C functions that call Python functions, which call C functions."""
    list(map(lambda n: functools.reduce(lambda a, b: stay(), [n, n]), [1]))


def partials(stay):
    functools.partial(functools.partial(plain), stay)()


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@wrapped
@wrapped
def decorated(stay):
    stay()


def lambdas(stay):
    (lambda: (lambda n=1: stay())())()


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class Made(metaclass=Meta):
    def __new__(cls, stay):
        stay()
        return super().__new__(cls)


def construction(stay):
    Made(stay)


def class_body(stay):
    class Outer:
        name = "outer"

        class Nested:
            value = stay()


SOURCE = """
import sys

def made(stay):
    return [
        n
        for n in (stay(),)
    ]

class Made:
    made = made(stay)
"""


kept = []


def code_of(source, file, mode):
    """Compiled, and there for good, as that of template engines is."""
    kept.append(compile(source, file, mode))
    return kept[-1]


def executed(stay):
    exec(code_of(SOURCE, "<made up>", "exec"), {"stay": stay, "__name__": "made"})


def evaluated(stay):
    eval(code_of("(lambda:\n  stay())()", "<string>", "eval"), {"stay": stay})


def gone(stay):
    """Its code is freed, and its memory used again, as soon as it has run."""
    exec("def passing(stay):\n\n\n  stay()\npassing(stay)", {"stay": stay})
    [exec("def other():\n  pass\n" * n, {}) for n in range(1, 40)]


def foreign_names(stay):
    source = "def größe(stay):\n\n  stay()\ngröße(stay)\n"
    exec(code_of(source, "/tmp/päckchen/日本.py", "exec"), {"stay": stay})


def far_lines(stay):
    """Lines far from each other, and more constants and jumps than one byte can tell."""
    lines = ["def far(stay):", "    n = 0"]
    lines += [f"    if n == {n}: n += {n + 1000}" for n in range(600)]
    lines += ["\n" * 70000, "    stay(", "\n" * 300, "    )", "far(stay)"]
    exec(code_of("\n".join(lines), "<far>", "exec"), {"stay": stay})


def handlers(stay):
    try:
        raise ValueError
    except ValueError:
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(lambda: None)
                raise KeyError from None
        except KeyError:
            pass
        finally:
            match [1, {"a": stay}]:
                case [1, {"a": call}] if call:
                    call()


@contextlib.contextmanager
def managed(stay):
    try:
        yield
    finally:
        stay()


def manager(stay):
    with managed(stay):
        pass


def importing(stay):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == f"missing_{threading.get_ident()}":
                stay()

    sys.meta_path.append(Finder)
    with contextlib.suppress(ImportError):
        __import__(f"missing_{threading.get_ident()}")
    sys.meta_path.remove(Finder)


async def coroutine(stay):
    async def inner():
        await asyncio.sleep(0)
        stay()

    async def middle():
        await inner()

    await middle()


async def gathered(stay):
    async def one(wait):
        await asyncio.sleep(0.001 * wait)
        return wait or stay()

    await asyncio.gather(one(0), one(1))


async def async_generator(stay):
    async def numbers():
        yield 1
        await asyncio.sleep(0)
        stay()
        yield 2

    return [number async for number in numbers()]


class Awaited:
    def __init__(self, stay):
        self.stay = stay

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.stay()

    async def __aenter__(self):
        await self

    async def __aexit__(self, *exception):
        pass


async def awaited(stay):
    async with Awaited(stay):
        pass


async def callback(stay):
    done = asyncio.Event()

    def called(argument):
        stay()
        done.set()

    asyncio.get_running_loop().call_soon(called, 1)
    await done.wait()


SITUATIONS = [
    plain, several_lines, backwards, generator, generator_expression, sent_generator,
    list_comprehension, nested_comprehension, recursion, deeper_recursion, mutual, methods,
    attributes, operators, callbacks, partials, decorated, lambdas, construction, class_body,
    executed, evaluated, gone, foreign_names, far_lines, handlers, manager, importing,
]  # fmt: skip
COROUTINES = [coroutine, gathered, async_generator, awaited, callback]
CALLS = [in_lock, in_sleep, in_select, in_recv, in_queue, in_condition, in_read]


def frames_of(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append((code.co_filename, code.co_qualname, code.co_name, frame.f_lineno))
        frame = frame.f_back
    return frames


def write(folder, truth):
    with open(f"{folder}/new.json", "w") as file:
        json.dump(truth, file)
    os.rename(f"{folder}/new.json", f"{folder}/truth.json")


# ---- threads that wait for good ---------------------------------------------------------


def there(how, stay):
    if asyncio.iscoroutinefunction(how):
        asyncio.run(how(stay))
    else:
        how(stay)


def threads(folder):
    started = []
    for number, how in enumerate([*SITUATIONS, *COROUTINES, *[plain] * len(CALLS)]):
        stay = CALLS[number % len(CALLS)]
        name = f"{how.__name__} {stay.__name__}"
        thread = threading.Thread(target=there, args=(how, stay), name=name, daemon=True)
        thread.start()
        started.append(thread)
    # They stay where they are when nobody has run for a while.
    before = None
    while (now := [frames_of(sys._current_frames()[t.ident]) for t in started]) != before:
        before = now
        time.sleep(0.3)
    write(
        folder,
        [
            {"thread": thread.name, "tid": thread.native_id, "frames": frames}
            for thread, frames in zip(started, now, strict=True)
        ],
    )
    time.sleep(3600)


# ---- tasks of one loop ------------------------------------------------------------------


async def tasks(folder):
    truth = []

    def note(frame):
        task = asyncio.current_task()
        name = task.get_name() if task else None
        if task and name.startswith("Task-"):
            name = task.get_coro().__name__  # it was given none
        truth.append({"task": name, "frames": frames_of(frame)})

    def stay():
        return note(sys._getframe()) or time.sleep(SLEEP_S)

    while not os.path.exists(f"{folder}/go"):
        await asyncio.sleep(0.02)
    for how in SITUATIONS:
        await asyncio.create_task(in_task(how, stay), name=how.__name__)
    for how in COROUTINES:
        await asyncio.create_task(how(stay), name=how.__name__)
    write(folder, truth)
    await asyncio.sleep(3600)


async def in_task(how, stay):
    how(stay)


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    if sys.argv[1] == "threads":
        threads(sys.argv[2])
    elif sys.argv[1] == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
        loop.run_until_complete(tasks(sys.argv[2]))
    else:
        asyncio.run(tasks(sys.argv[2]))
