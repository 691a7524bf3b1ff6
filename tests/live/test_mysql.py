# SPDX-License-Identifier: Apache-2.0
"""Calls to a real MariaDB, as test_dependencies.py has them of other peers."""

import json
from types import SimpleNamespace

import pytest
from harness import LOOPS, Service, attached, drive
from servers import MariaDB, clients_python
from test_dependencies import (
    NEW_MS,
    SECRET,
    TIMES,
    UNIX_MS,
    Case,
    answered,
    check_latency,
    check_site,
    rows,
)

SLOW_MS = 120
MANY = 20
CASES = {
    case.what: case
    for case in (
        Case("aiomysql", "slow", f"/aiomysql/slow/{SLOW_MS}", ms=SLOW_MS,
             statements=("SELECT sleep(?)",)),
        Case("aiomysql", "many", f"/aiomysql/many/{MANY}", MANY, statements=("SELECT ? + ?",)),
        Case("aiomysql", "few", "/aiomysql/few", 3,
             statements=("SELECT ?", "SELECT ? AS two", "SELECT now()")),
        Case("aiomysql", "error", "/aiomysql/error", errors=True,
             statements=("SELECT * FROM mysql.missing",)),
        Case("aiomysql", "secret", f"/aiomysql/secret/{SECRET}", statements=("SELECT ?",)),
        Case("aiomysql", "new", "/aiomysql/new", ms=NEW_MS, statements=("SELECT sleep(?)",)),
        Case("aiomysql", "unix", f"/aiomysql/unix/{UNIX_MS}", ms=UNIX_MS, unix=True,
             statements=("SELECT sleep(?)",)),
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def mariadb():
    with MariaDB() as mariadb:
        yield mariadb


@pytest.fixture(scope="module", params=LOOPS)
def run(request, mariadb):
    env = SimpleNamespace(
        LOOPSCOPE_MARIADB=mariadb.port, LOOPSCOPE_MARIADB_SOCKET=mariadb.folder / "mysql.sock"
    )
    paths = [case.path for case in CASES.values()]
    with Service(
        "clients_mysql:app", loop=request.param, interpreter=clients_python(), env=vars(env)
    ) as service:
        answered(drive(service, paths, concurrency=1))
        with attached(service) as run:
            answered(drive(service, paths * TIMES, concurrency=1))
    assert (run.status, run.stderr) == (0, "")
    return run


@pytest.mark.parametrize("what", CASES)
def test_calls(run, mariadb, what):
    case = CASES[what]
    (row,) = rows(run, case.route)
    check_site(case.name, row["call_site"])
    assert row["peer"] == (mariadb.unix if case.unix else mariadb.peer)
    assert row["protocol"] == "mysql"
    assert row["calls"] == TIMES * case.calls
    assert row["calls_per_request"] == case.calls
    assert row["errors"] == (row["calls"] if case.errors else 0)
    assert row["failures"] == row["refused"] == row["unanswered"] == 0
    assert row["unpaired"] is False
    assert row["bytes_sent"] > 0 < row["bytes_received"]
    assert row["latency_ms"]["count"] == row["calls"]
    if case.ms is not None:
        check_latency(row, case.ms)
    assert sorted(row["statements"]) == sorted(case.statements)


def test_nothing_else_was_called(run):
    assert len(run.report["dependencies"]) == len(CASES)
    assert SECRET not in json.dumps(run.report)


def test_findings(run):
    [slow] = run.findings("slow_dependency")
    check_site("aiomysql slow", slow["culprit"])
    assert slow["count"] == slow["requests"] == TIMES
    [many] = run.findings("n_plus_one")
    check_site("aiomysql many", many["culprit"])
    assert many["calls_per_request"] == MANY
    kinds = {finding["kind"] for finding in run.report["findings"]}
    assert kinds - {"cpu_starvation"} == {"slow_dependency", "n_plus_one"}
