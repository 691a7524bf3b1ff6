# SPDX-License-Identifier: Apache-2.0
"""Which interpreter, loop, server and threads a target has, for every CPython."""

import json
import re

from harness import Service, attached, drive, get, loopscope


def facts(service):
    return get(service, "/facts").json()


def test_targets_of_every_interpreter(interpreter, loop):
    with Service("facts:app", loop=loop, interpreter=interpreter) as service:
        true = facts(service)
        with attached(service, "-v") as run:
            drive(service, ["/ping"] * 3, concurrency=1)
        # The program itself says what it runs on.
        assert true["python"] == interpreter.version
        assert true["shared"] is (interpreter.link == "shared")
    assert run.status == 0
    [target] = run.report["targets"]
    assert target["pid"] == service.pid
    assert target["python"] == true["python"]
    assert target["server"] == f"uvicorn {true['uvicorn']}"
    assert target["loop"] == loop == true["loop"]
    assert [each["tid"] for each in target["loops"]] == [service.pid]
    assert target["loops"][0]["steps"] >= 3
    assert target["cmdline"] == true["cmdline"]
    assert target["notes"] == []
    link = "libpython" if true["shared"] else "static"
    said = re.search(rf"pid {service.pid}: CPython (\S+), (\w+)", run.stderr)
    assert said, run.stderr
    assert said.groups() == (true["python"], link)


def test_threads_of_every_interpreter(interpreter):
    """Thread ids and names are those that the kernel and the program have."""
    with Service("facts:app", interpreter=interpreter) as service:
        true = facts(service)
        run = loopscope("dump", "-p", service.pid, "--json")
    assert run.returncode == 0, run.stderr
    [target] = json.loads(run.stdout)["targets"]
    assert target["python"] == true["python"]
    assert target["server"] == f"uvicorn {true['uvicorn']}"
    assert {thread["tid"]: thread["name"] for thread in target["threads"]} == {
        int(tid): name for tid, name in true["threads"].items()
    }
    assert len(true["threads"]) == 3
