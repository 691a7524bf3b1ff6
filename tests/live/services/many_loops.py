# SPDX-License-Identifier: Apache-2.0
"""Event loops that follow each other in one thread, or are many at once; a script:

    python many_loops.py asyncio|uvloop series|first|runner|leak|threads COUNT
    python many_loops.py asyncio|uvloop crowd COUNT

Each loop blocks once, in block(), but for the first half of a crowd.
"""

import asyncio
import sys
import threading
import time

BLOCK_S = 0.02


def block():
    time.sleep(BLOCK_S)


def between():
    """Nobody's loop waits for this."""
    time.sleep(BLOCK_S)


async def late():
    await asyncio.sleep(0.005)  # uvloop is seen when its first wait is over
    await asyncio.sleep(0.01)
    block()
    await asyncio.sleep(0)


async def at_once():
    block()


def series(factory, count, main=late):
    for _ in range(count):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        between()


def first(factory, count):
    series(factory, count, at_once)


def runner(factory, count):
    """Two runs of each loop."""
    for _ in range(count // 2):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(late())
            runner.run(late())


def leak(factory, count):
    """None of them is ever closed."""
    kept = []
    for _ in range(count):
        kept.append(factory())
        kept[-1].run_until_complete(late())


def threads(factory, count):
    """Each in a thread of its own."""
    for _ in range(count):
        thread = threading.Thread(target=series, args=(factory, 1))
        thread.start()
        thread.join()


def crowd(factory, count):
    """All at once; then the first half ends, and the others block."""
    ended, blocked = threading.Barrier(count), threading.Barrier(count)

    async def live(number):
        await asyncio.sleep(2)
        if number < count // 2:
            return
        await asyncio.sleep(4)
        block()
        await asyncio.sleep(0.1)

    def run(number):
        ended.wait()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(live(number))
        blocked.wait()

    all_threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()


def main(loop, mode, count):
    factory = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    if mode == "crowd":
        crowd(factory, count)
    else:
        thread = threading.Thread(target=globals()[mode], args=(factory, count), name="loops")
        thread.start()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
