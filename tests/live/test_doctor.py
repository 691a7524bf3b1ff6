# SPDX-License-Identifier: Apache-2.0
"""doctor has a row for everything that is needed, and what it says of it is so."""

import json

from harness import ROOT, Service, loopscope

NAMES = ROOT / "tests/golden/cli/doctor.txt"


def doctor(*options, status=0):
    run = loopscope("doctor", "--json", *options)
    assert run.returncode == status, run.stdout + run.stderr
    return json.loads(run.stdout)


def test_names_of_the_checks():
    said = doctor()
    names = [f"{check['group']}: {check['name']}" for check in said["checks"]]
    assert names == NAMES.read_text().splitlines()
    assert said["schema"] == "loopscope.doctor/1"
    assert said["works"] is True


def test_everything_works_here():
    assert [check["name"] for check in doctor()["checks"] if not check["there"]] == []


def test_text_has_the_same_rows():
    run = loopscope("doctor")
    assert (run.returncode, run.stderr) == (0, "")
    rows = [line[6:34].rstrip() for line in run.stdout.splitlines() if line.startswith("  ")]
    assert rows == [line.partition(": ")[2] for line in NAMES.read_text().splitlines()]


def test_every_row_says_what_is_lost():
    for check in doctor()["checks"]:
        assert check["without"], check["name"]


def test_target():
    with Service("stalls:app", loop="uvloop") as service:
        checks = {
            check["name"]: check
            for check in doctor("-p", service.pid)["checks"]
            if check["group"] == "target"
        }
        assert list(checks) == ["interpreter", "event loops", "server"]
        assert all(check["there"] for check in checks.values())
        assert checks["event loops"]["detail"] == f"thread {service.pid} (uvloop)"
        assert checks["server"]["detail"].startswith("uvicorn ")
    assert doctor("-p", 2, status=4)["works"] is False
