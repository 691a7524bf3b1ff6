# SPDX-License-Identifier: Apache-2.0
"""Peers that services of the tests call: PostgreSQL, MariaDB, Redis and an HTTP server.

Each is a context manager with data in a folder of its own, listens on a free port of
HOST and is ended by its pid.

    with Postgres() as postgres, Redis() as redis, Upstream() as upstream:
        with Service("clients:app", interpreter=clients_python(), env=addresses(...)):
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from harness import HOST, ROOT, SERVICES, Interpreter, end, listening, reserved_port, wait_until
from services.upstream import names_at

SERVER_SECONDS = 30
#: Nothing survives its test, so nothing has to reach the disk.
POSTGRES_OPTIONS = {
    "listen_addresses": HOST,
    "max_connections": 100,
    "fsync": "off",
    "autovacuum": "off",
    "logging_collector": "off",
}
MARIADB_OPTIONS = {
    "bind-address": HOST,
    "max-connections": 100,
    "innodb-buffer-pool-size": "16M",
    "innodb-flush-log-at-trx-commit": 0,
}


@cache
def clients_python():
    """An Interpreter with tests/requirements-live-clients.txt."""
    base = os.environ.get("LOOPSCOPE_CLIENTS_PYTHON", sys._base_executable)
    facts = subprocess.run(
        [base, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    version = facts.stdout.strip()
    cached = Path(os.environ.get("LOOPSCOPE_CACHE", Path.home() / ".cache/loopscope"))
    made = subprocess.run(
        [
            ROOT / "tools/venv.sh",
            base,
            cached / f"clients-{version}",
            ROOT / "tests/requirements-live-clients.txt",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Interpreter(version, "clients", made.stdout.strip())


def account():
    """PostgreSQL refuses to run as root: what makes a child somebody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise LookupError("neither a user postgres nor nobody")


def program(name):
    """Debian keeps the programs of PostgreSQL's server out of the search path."""

    def version(path):
        return [int(number) for number in re.findall(r"\d+", path.parents[1].name)]

    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=version)
    found = str(packaged[-1]) if packaged else shutil.which(name)
    if found is None:
        raise LookupError(f"no {name}: tools/setup.sh test installs it")
    return found


class Server:
    """A server in a folder of its own, from its first answer to its end."""

    goodbye = signal.SIGINT

    def __enter__(self):
        self.who = self.user()
        self.folder = Path(tempfile.mkdtemp(prefix="loopscope-peer-"))
        self.process = None
        try:
            self.folder.chmod(0o755)
            if self.who:
                os.chown(self.folder, self.who["user"], self.who["group"])
            with reserved_port() as self.port:
                self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        if self.process is not None:
            end(self.process, self.goodbye)
        shutil.rmtree(self.folder, ignore_errors=True)

    def user(self):
        return account()

    @property
    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def run(self, *command):
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                [str(word) for word in command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
                **self.who,
            )

    def launch(self, *command):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.who,
            )
        wait_until(
            lambda: self.process.poll() is not None or self.ready(), SERVER_SECONDS, command[0]
        )
        if self.process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {self.log}")

    def ready(self):
        return listening(self.port)

    @property
    def peer(self):
        """As the report names it."""
        return f"{HOST}:{self.port}"


class Postgres(Server):
    """Reached over HOST and over its Unix socket, as user postgres without a password."""

    def start(self):
        data = self.folder / "data"
        self.run(program("initdb"), "-D", data, "-A", "trust", "-N", "-E", "UTF8",
                 "--locale", "C", "-U", "postgres")  # fmt: skip
        options = POSTGRES_OPTIONS | {"port": self.port, "unix_socket_directories": self.folder}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.launch(program("postgres"), "-D", data, *arguments)

    def ready(self):
        return "ready to accept connections" in self.log

    @property
    def unix(self):
        return f"unix:{self.folder}/.s.PGSQL.{self.port}"


class MariaDB(Server):
    """Reached over HOST and over its Unix socket, as user root without a password."""

    goodbye = signal.SIGTERM

    def start(self):
        server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
        install = shutil.which("mariadb-install-db")
        if server is None or install is None:
            raise LookupError("no mariadbd: tools/setup.sh test installs it")
        data = self.folder / "data"
        self.run(install, "--no-defaults", f"--datadir={data}", "--skip-test-db",
                 "--auth-root-authentication-method=normal")  # fmt: skip
        options = MARIADB_OPTIONS | {"port": self.port, "socket": self.folder / "mysql.sock"}
        options |= {"datadir": data, "pid-file": self.folder / "pid"}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.launch(server, "--no-defaults", "--skip-name-resolve", *arguments)

    def ready(self):
        return "ready for connections" in self.log

    @property
    def unix(self):
        return f"unix:{self.folder}/mysql.sock"


class Redis(Server):
    """Reached over HOST and over its Unix socket."""

    def start(self):
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        if server is None:
            raise LookupError("no redis-server: tools/setup.sh test installs it")
        self.launch(server, "--bind", HOST, "--port", self.port, "--save", "",
                    "--appendonly", "no", "--dir", self.folder,
                    "--enable-debug-command", "yes", "--unixsocketperm", "777",
                    "--unixsocket", self.folder / "redis.sock")  # fmt: skip

    @property
    def unix(self):
        return f"unix:{self.folder}/redis.sock"


class Mongo(Server):
    """services/mongo.py, which only stands for one."""

    def user(self):
        return {}

    def start(self):
        self.launch(clients_python().python, SERVICES / "mongo.py", self.port)


class Upstream(Server):
    """services/upstream.py: HTTP on .port of every loopback address, TLS on .tls_port."""

    def user(self):
        return {}

    def start(self):
        self.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2,
                 "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem")  # fmt: skip
        with reserved_port() as self.tls_port:
            self.launch(*self.program(), self.port, self.tls_port, "cert.pem", "key.pem")

    def program(self):
        return sys.executable, SERVICES / "upstream.py"

    def ready(self):
        return listening(self.port) and listening(self.tls_port)

    @property
    def names(self):
        """Address of its name server."""
        return names_at(self.port)[0]


class Http2(Upstream):
    """services/upstream_http2.py: HTTP/2 on .port, within TLS on .tls_port."""

    def program(self):
        return clients_python().python, SERVICES / "upstream_http2.py"


def addresses(postgres, redis, upstream, mongo=None, mariadb=None):
    """Environment of a service that calls them."""
    others = {"LOOPSCOPE_MONGO": mongo, "LOOPSCOPE_MARIADB": mariadb}
    return {name: server.port for name, server in others.items() if server is not None} | {
        "LOOPSCOPE_POSTGRES": postgres.port,
        "LOOPSCOPE_POSTGRES_FOLDER": postgres.folder,
        "LOOPSCOPE_REDIS": redis.port,
        "LOOPSCOPE_REDIS_SOCKET": redis.folder / "redis.sock",
        "LOOPSCOPE_UPSTREAM": upstream.port,
        "LOOPSCOPE_UPSTREAM_TLS": upstream.tls_port,
    }
