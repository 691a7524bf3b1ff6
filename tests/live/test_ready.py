# SPDX-License-Identifier: Apache-2.0
"""READY=1 on $NOTIFY_SOCKET: from then on nothing is missed."""

import json
import signal
import socket
import subprocess

import pytest
from harness import LOOPSCOPE, REPORT_SECONDS, Readiness, Service, attached, end, get, loopscope


@pytest.fixture(scope="module")
def service():
    with Service("stalls:app") as service:
        get(service, "/ping")
        yield service


@pytest.mark.parametrize("times", range(3))
def test_nothing_is_missed(service, times):
    with attached(service) as run:
        get(service, "/sleep/30")
    (finding,) = run.findings("blocking_call")
    assert (finding["count"], finding["since_before"]) == (1, False)


def test_said_once_at_a_path(service, tmp_path):
    with Readiness() as readiness:
        readiness.socket.close()
        readiness.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        readiness.socket.bind(str(tmp_path / "notify"))
        readiness.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        process = subprocess.Popen(
            [LOOPSCOPE, "attach", "-p", str(service.pid), "--json"],
            env=readiness.env,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            readiness.wait(process)
            assert process.poll() is None
            get(service, "/sleep/30")
            process.send_signal(signal.SIGINT)
            report = json.loads(process.communicate(timeout=REPORT_SECONDS)[0])
        finally:
            end(process, signal.SIGKILL)
        found = [f for f in report["findings"] if f["kind"] != "cpu_starvation"]
        assert [finding["count"] for finding in found] == [1]
        with pytest.raises(TimeoutError):
            readiness.socket.recv(4096)


@pytest.mark.parametrize("name", ["", "@", "/nowhere/at/all", "not-absolute", "@" + 200 * "x"])
def test_nobody_listens(service, name):
    env = {"NOTIFY_SOCKET": name}
    run = loopscope("attach", "-p", service.pid, "-d", "100ms", "--json", env=env)
    assert (run.returncode, run.stderr) == (0, "")
