# SPDX-License-Identifier: Apache-2.0
"""Interpreters with other packages than tests/requirements-live.txt pins, and servers on them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import ROOT, Interpreter, Service, find_interpreter, own_interpreter

CACHE = Path(os.environ.get("LOOPSCOPE_CACHE", Path.home() / ".cache/loopscope"))
#: name: what is pinned otherwise, or as well.
PINS = {
    "uvloop-0.21": {"uvloop": "0.21.0", "wsproto": "1.3.2"},
    "uvloop-0.23": {"wsproto": "1.3.2"},
}


@cache
def interpreter_with(name):
    """CPython 3.13 or 3.12, else the tests' own, with the packages of PINS."""
    base = next(filter(None, map(_outside_roots, ("3.13-shared", "3.12"))), None) or own_base()
    lines = (ROOT / "tests/requirements-live.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    folder = CACHE / f"live-{name}"
    wanted = CACHE / f"live-{name}.txt"
    wanted.write_text("".join(f"{k}=={v}\n" for k, v in {**pins, **PINS[name]}.items()))
    made = subprocess.run(
        [ROOT / "tools/venv.sh", base.python, folder, wanted],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Interpreter(base.version, base.link, made.stdout.strip())


def own_base():
    """What the tests' own virtual environment was made of."""
    own = own_interpreter()
    return Interpreter(own.version, own.link, sys._base_executable)


def _outside_roots(name):
    try:
        interpreter = find_interpreter(name)
    except LookupError:
        return None
    return interpreter if interpreter.root is None else None


# ---- servers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    loop: str
    http: str
    #: Of venvs.PINS, None: the tests' own interpreter.
    packages: str | None = None

    def __str__(self):
        return f"{self.packages or self.loop}-{self.http}"

    def service(self, **how):
        # Some requests never end.
        arguments = ["--http", self.http, "--timeout-graceful-shutdown", 1]
        arguments += how.pop("arguments", ())
        interpreter = interpreter_with(self.packages) if self.packages else own_interpreter()
        return Service(
            "traffic:app",
            loop=self.loop,
            interpreter=interpreter,
            arguments=arguments,
            cpu=0,
            # Who waits for a CPU because of others tells nothing of the stop-watches.
            prefix=("nice", "-n", "-20"),
            **how,
        )


SERVERS = [
    Server("asyncio", "httptools"),
    Server("asyncio", "h11"),
    Server("uvloop", "httptools", "uvloop-0.23"),
    Server("uvloop", "h11"),
    Server("uvloop", "httptools", "uvloop-0.21"),
    Server("uvloop", "h11", "uvloop-0.21"),
]
#: uvloop before 0.23 writes where nothing but ciphertext is in sight: the log says what.
LOGGING = ("--access-log", "--log-level", "info")


def certificate_in(folder):
    """uvicorn's arguments for a certificate of its own, made in that folder."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return ("--ssl-keyfile", key, "--ssl-certfile", certificate)


def rows_of(run):
    """{"METHOD route": row}."""
    return {f"{row['method']} {row['route']}": row for row in run.report["routes"]}
