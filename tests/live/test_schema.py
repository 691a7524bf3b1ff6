# SPDX-License-Identifier: Apache-2.0
"""Every JSON report among the golden files is what the schema promises."""

import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "src/export/report.schema.json").read_text(encoding="utf-8"))
REPORTS = sorted((ROOT / "tests/golden/export").glob("*.json"))
CLOSED = ("finding", "route_entry")


def objects(schema):
    """Every part of a schema that describes an object with fields."""
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def validator():
    return jsonschema.Draft202012Validator(SCHEMA)


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_field_is_required():
    described = list(objects(SCHEMA))
    assert len(described) > 30
    for part in described:
        assert sorted(part["required"]) == sorted(part["properties"])


def test_no_unknown_fields_where_promised():
    closed = [SCHEMA["$defs"][name] for name in CLOSED] + [SCHEMA["properties"]["loss"]]
    for top in closed:
        for part in objects(top):
            if part is not top["properties"].get("lost"):
                assert part["additionalProperties"] is False


def test_there_are_reports():
    assert len(REPORTS) >= 2


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name)
def test_report(path):
    report = json.loads(path.read_text(encoding="utf-8"))
    validator().validate(report)


def test_what_is_wrong_is_seen():
    report = json.loads((ROOT / "tests/golden/export/json.json").read_text(encoding="utf-8"))
    for change in (
        lambda r: r.pop("verdicts"),
        lambda r: r["findings"][0].update(surprise=1),
        lambda r: r["findings"][0]["duration_ms"].pop("p99"),
        lambda r: r["findings"][0].update(kind="slow"),
        lambda r: r["loss"].update(surprise=1),
        lambda r: r["findings"][0].update(count=-1),
    ):
        broken = json.loads(json.dumps(report))
        change(broken)
        assert not validator().is_valid(broken)
