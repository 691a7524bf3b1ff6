# SPDX-License-Identifier: Apache-2.0
"""Names of the lab must not occur in the product: it is built for the rule, not the case.

    check_names.py EXPECTATIONS DIRECTORY...
"""

import json
import re
import sys
from pathlib import Path

# Names of the lab that are anybody's: of libraries, of textbooks, of reports.
GENERAL = {
    "background.py",
    "custom_openapi",
    "endpoint",
    "exception",
    "get_current_user",
    "load_report",
    "load_session",
    "main.py",
    "middleware.py",
    "moderate",
    "render_report",
    "response",
    "routing.py",
    "serialization.py",
    "service.py",
}
ROUTE = re.compile(r"/[a-z0-9_{}:.-]+(/[a-z0-9_{}:.-]+)+$", re.I)


def names(expectations):
    """{name: which case has it}, distinctive ones only."""
    found = {}

    def add(name, case):
        if name and name.lower() not in GENERAL:
            found.setdefault(name, case)

    for case in expectations["cases"]:
        add(case["id"], case["id"])
        for route in {case.get("route"), (case.get("load") or {}).get("path")}:
            if route and ROUTE.match(route):
                add(route, case["id"])
        places = [case.get("file")]
        truths = case.get("truth")
        for truth in truths if isinstance(truths, list) else [truths]:
            culprit = truth.get("culprit") if isinstance(truth, dict) else None
            if isinstance(culprit, dict):
                places.append(culprit.get("file"))
                name = (culprit.get("function") or "").strip("<>_")
                if len(name) >= 8:
                    add(name, case["id"])
        for place in places:
            if place and "site-packages" not in place and place.startswith("services/"):
                add(place, case["id"])
                add(Path(place).name, case["id"])
    return found


def main(arguments):
    expectations, *directories = arguments
    wanted = names(json.loads(Path(expectations).read_text()))
    # Longest first: an id may begin with another one.
    any_name = "|".join(re.escape(name) for name in sorted(wanted, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({any_name})(?![\w-])")
    bad = 0
    for directory in directories:
        for path in sorted(Path(directory).rglob("*")):
            if not path.is_file():
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                for match in pattern.finditer(line):
                    case = wanted[match[1]]
                    print(f"{path}:{number}: {match[1]!r} is a name of the lab ({case})")
                    bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
