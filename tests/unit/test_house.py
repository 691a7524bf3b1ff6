# SPDX-License-Identifier: Apache-2.0
"""The checks of the house find what they are there for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def check_layers(tree):
    return subprocess.run(
        [ROOT / "tools/check-layers.sh", tree], capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path):
    for directory in ("src", "include", "bpf"):
        shutil.copytree(ROOT / directory, tmp_path / directory)
    return tmp_path


def test_layers_of_the_tree():
    result = check_layers(ROOT)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "file, line, complaint",
    [
        ("src/base/planted.c", '#include "discover/target.h"', "no earlier stage"),
        ("src/resolve/planted.h", '#  include "detect/finding.h"', "no earlier stage"),
        ("src/resolve/planted.c", "#include <detect/finding.h>", "no earlier stage"),
        ("src/base/planted.c", '#include "loopscope.skel.h"', "no earlier stage"),
        ("src/base/planted.c", '#include "../discover/target.h"', "relative to src/"),
        ("src/base/planted.c", '#include "mem.h"', 'write "base/mem.h"'),
        ("src/detect/planted.c", '#include "py_frames.bpf.h"', "belongs to bpf/"),
        ("src/elsewhere/planted.c", "", "is no stage"),
        ("include/planted.h", '#include "base/mem.h"', "of src/"),
        ("include/planted.h", '#include "kernel_types.h"', "of bpf/"),
        ("bpf/planted.bpf.c", '#include "base/mem.h"', "of src/"),
    ],
)
def test_layers_planted(tree, file, line, complaint):
    planted = tree / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(line + "\n")
    result = check_layers(tree)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_names_planted(tmp_path):
    expectations = tmp_path / "expectations.json"
    case = {
        "id": "some-case",
        "file": "services/sleepy_shop.py",
        "route": "/bad/sleepy-route",
        "load": {"path": "/bad/sleepy-route/7"},
        "truth": {"culprit": {"file": "services/sleepy_shop.py", "function": "sleep_well"}},
    }
    expectations.write_text(json.dumps({"cases": [case]}))
    product = tmp_path / "product"
    product.mkdir()

    def check(text):
        (product / "a.c").write_text(text)
        command = [sys.executable, ROOT / "tools/check_names.py", expectations, product]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert check("sleep_well_known some-case-law /bad/sleepy-routes\n").returncode == 0
    for name in ("some-case", "sleepy_shop.py", "/bad/sleepy-route", "sleep_well"):
        result = check(f'\n"{name}"\n')
        assert result.returncode == 1
        assert f"a.c:2: '{name}'" in result.stdout


def test_format_keeps_tables(tmp_path):
    clang_format = Path(sys.executable).parent / "clang-format"
    source = tmp_path / "a.h"
    text = (
        "#define ALL(X) \\\n\tX(one) X(two) \\\n\tX(three)\n\n"
        "enum some {\n#define X(name) NAME_##name,\n\tALL(X)\n#undef X\n\tNAME_COUNT\n};\n\n"
        "struct some {\n\tint a;\t\t/* tabs stay */\n};\n"
    )
    command = [sys.executable, ROOT / "tools/format.py", clang_format, "--check", source]
    source.write_text(text)
    assert subprocess.run(command, check=False).returncode == 0
    source.write_text(text.replace("int a", "int  a"))
    assert subprocess.run(command, check=False).returncode == 1
    source.write_text(text + "/* " + "x" * 100 + " */\n")
    assert subprocess.run(command, check=False).returncode == 1
