# SPDX-License-Identifier: Apache-2.0
"""Writes ``expectations.json`` from ``cases.py``, the source markers and ``verification.json``.

    python3 -m labkit.build [--check]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    root = Path.cwd()
    sys.path.insert(0, str(root))
    from cases import SUITE

    store = root / "verification.json"
    verification = json.loads(store.read_text()) if store.exists() else {}
    text = json.dumps(SUITE.as_json(verification), indent=1) + "\n"
    target = root / "expectations.json"
    if "--check" in sys.argv:
        sys.exit(0 if target.read_text() == text else "expectations.json is out of date")
    target.write_text(text)
    kinds = Counter(
        case["truth"]["kind"] if case["variant"] == "bad" else "good" for case in SUITE.cases
    )
    print(len(SUITE.cases), "cases", dict(kinds))


if __name__ == "__main__":
    main()
