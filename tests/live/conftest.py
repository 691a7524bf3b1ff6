# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests; harness.py has what they hand out.

A test that takes ``loop`` runs on asyncio and on uvloop, one that takes
``interpreter`` on every CPython that is supported, static and shared.
"""

import os

import harness
import pytest


@pytest.fixture(params=harness.LOOPS)
def loop(request):
    """The name of an event loop."""
    return request.param


@pytest.fixture(params=harness.INTERPRETERS)
def interpreter(request):
    """A harness.Interpreter; one that is not to be had fails the test."""
    try:
        return harness.find_interpreter(request.param)
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def root():
    """Live tests need root, and a failure says so once."""
    if os.geteuid() != 0:
        pytest.fail("live tests need root", pytrace=False)
