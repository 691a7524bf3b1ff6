# SPDX-License-Identifier: Apache-2.0
"""Where the peers are: see servers.addresses()."""

import os

HOST = "127.0.0.1"
PG_PORT = os.environ["LOOPSCOPE_POSTGRES"]
PG_FOLDER = os.environ["LOOPSCOPE_POSTGRES_FOLDER"]
PG = {"host": HOST, "port": int(PG_PORT), "user": "postgres", "database": "postgres"}
PG_UNIX = {**PG, "host": PG_FOLDER}
#: As libpq wants it.
DSN = f"host={HOST} port={PG_PORT} user=postgres dbname=postgres"
DSN_UNIX = f"host={PG_FOLDER} port={PG_PORT} user=postgres dbname=postgres"
REDIS = {"host": HOST, "port": int(os.environ["LOOPSCOPE_REDIS"])}
REDIS_SOCKET = os.environ["LOOPSCOPE_REDIS_SOCKET"]
#: Only where a test has them.
MARIADB = {"host": HOST, "port": int(os.environ.get("LOOPSCOPE_MARIADB", 0)), "user": "root"}
MONGO = {"host": HOST, "port": int(os.environ.get("LOOPSCOPE_MONGO", 1))}
UPSTREAM_PORT = int(os.environ["LOOPSCOPE_UPSTREAM"])
UPSTREAM = f"http://{HOST}:{UPSTREAM_PORT}"
UPSTREAM_TLS = f"https://localhost:{os.environ['LOOPSCOPE_UPSTREAM_TLS']}"
