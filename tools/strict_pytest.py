# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: writes down every outcome, those that hide a test as well."""

import json
import os
from pathlib import Path

import pytest


class Outcomes:
    def __init__(self):
        self.passed = set()
        self.failed = set()
        self.not_run = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        test = report.nodeid
        if hasattr(report, "wasxfail"):
            self.not_run[test] = "expected to fail" if report.skipped else "passed unexpectedly"
        elif report.failed:
            self.failed.add(test)
        elif report.skipped:
            self.not_run[test] = "skipped"
        elif report.when == "call":
            self.passed.add(test)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid or "collection")
        elif report.skipped:
            self.not_run[report.nodeid] = "skipped"

    def pytest_deselected(self, items):
        for item in items:
            self.not_run[item.nodeid] = "deselected"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        expected = {item.nodeid for item in session.items}
        for test in expected - self.passed - self.failed - set(self.not_run):
            self.not_run[test] = "never ran"
        # A test whose teardown failed has passed and failed: it failed.
        summary = {
            "passed": sorted(self.passed - self.failed - set(self.not_run)),
            "failed": sorted(self.failed),
            "not_run": sorted(self.not_run.items()),
        }
        Path(os.environ["STRICT_PYTEST_SUMMARY"]).write_text(json.dumps(summary))


def pytest_configure(config):
    if os.environ.get("STRICT_PYTEST_SUMMARY"):
        config.pluginmanager.register(Outcomes(), "strict-outcomes")
