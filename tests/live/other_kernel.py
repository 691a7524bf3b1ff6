# SPDX-License-Identifier: Apache-2.0
"""Runs in the guest of tools/guest.py: loopscope beside a service that sleeps on its loop.

    other_kernel.py LOOP...

Where an emulated CPU gets no time for 10 ms, a call is that much shorter or longer, and others
may be slow as well: each of the sleeps has to be found, its length is tested elsewhere.
"""

import sys

from harness import SERVICES, Service, attached, drive

TIMES = 5
PLACE = {"file": str(SERVICES / "calls.py"), "function": "timed"}


def check(loop):
    with Service("calls:app", loop=loop) as service:
        with attached(service) as run:
            drive(service, ["/sleep/200"] * TIMES, concurrency=1)
    assert run.status == 0, run.stderr
    findings = run.findings("blocking_call", "/sleep/{ms}")
    named = [finding for finding in findings if PLACE.items() <= (finding["culprit"] or {}).items()]
    assert [finding["syscall"] for finding in named] == ["clock_nanosleep"], findings
    assert [finding["count"] for finding in named] == [TIMES], findings


for name in sys.argv[1:]:
    check(name)
