# SPDX-License-Identifier: Apache-2.0
"""Clients of the demo's service, and the supplier that it asks.

load.py supplier          serves until it is ended; prints its port
load.py clients PORT      asks every route of the service until it is ended
load.py check REPORT      exit status 1 unless the report has what must be in it
"""

import http.client
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SUPPLIER_SECONDS = 0.08
#: method, path, pause between two requests
REQUESTS = (
    ("GET", "/price/7", 0.35),
    ("GET", "/price-async/7", 0.35),
    ("POST", "/login?name=ada", 0.5),
    ("POST", "/login-thread?name=ada", 0.5),
    ("GET", "/health", 0.02),
)
EXPECTED = {
    ("GET", "/price/{item}"): {"blocking_call"},
    ("GET", "/price-async/{item}"): set(),
    ("POST", "/login"): {"cpu_stall"},
    ("POST", "/login-thread"): set(),
    ("GET", "/health"): set(),
}


class Supplier(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(SUPPLIER_SECONDS)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"9.50")

    def log_message(self, *arguments):
        pass


def supplier():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Supplier)
    print(server.server_port, flush=True)
    server.serve_forever()


def ask(port, method, path, pause):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                print(f"{method} {path}: status {answer.status}", file=sys.stderr)
        except (OSError, http.client.HTTPException) as error:
            print(f"{method} {path}: {error!r}", file=sys.stderr)
            connection.close()
        time.sleep(pause)


def clients(port):
    for request in REQUESTS:
        threading.Thread(target=ask, args=(port, *request), daemon=True).start()
    threading.Event().wait()


def check(path):
    with open(path, encoding="utf-8") as file:
        findings = json.load(file)["findings"]
    status = 0
    for (method, route), wanted in EXPECTED.items():
        kinds = {f["kind"] for f in findings if (f["method"], f["route"]) == (method, route)}
        right = wanted <= kinds if wanted else not kinds
        print(
            f"{'ok ' if right else 'BAD'}  {method} {route}: "
            f"{', '.join(sorted(kinds)) or 'nothing'}"
            + ("" if right else f", expected {', '.join(wanted) or 'nothing'}")
        )
        status |= not right
    return status


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["supplier"]:
            supplier()
        case ["clients", port]:
            clients(int(port))
        case ["check", report]:
            sys.exit(check(report))
        case _:
            sys.exit(__doc__)
