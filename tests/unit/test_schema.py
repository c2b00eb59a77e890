"""`memtop schema`: what it says holds for every record, and for nothing less."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from memtop.model.records import KINDS
from memtop.sinks.jsonl import line
from memtop.sinks.schema import log_schema
from tests.unit import sample_records as sample


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(log_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def lines() -> list[dict[str, Any]]:
    return [json.loads(line(record)) for record in sample.all_kinds()]


def test_every_kind_validates_as_written(validator: Draft202012Validator) -> None:
    assert {record["kind"] for record in lines()} == set(KINDS)
    for record in lines():
        validator.validate(record)


@pytest.mark.parametrize("record", lines(), ids=lambda record: record["kind"])
def test_a_key_left_out_is_no_record(validator: Draft202012Validator, record: dict[str, Any]) -> None:
    for key in record:
        with pytest.raises(ValidationError):
            validator.validate({k: v for k, v in record.items() if k != key})


def test_wrong_values_are_no_records(validator: Draft202012Validator) -> None:
    (memory,) = (record for record in lines() if record["kind"] == "memory")
    for change in (
        {"moment": "lunch"},
        {"v": 2},
        {"kind": "step"},
        {"step": 1.5},
        {"bytes": {"free": "1"}},
        {"t": None},
    ):
        with pytest.raises(ValidationError):
            validator.validate(memory | change)


@pytest.mark.parametrize("kind", ["modules", "lines", "trace"])
def test_a_row_with_a_key_left_out_is_no_record(validator: Draft202012Validator, kind: str) -> None:
    (record,) = (record for record in lines() if record["kind"] == kind)
    name = "marks" if kind == "trace" else "rows"
    for key in record[name][0]:
        rows = [{k: v for k, v in record[name][0].items() if k != key}]
        with pytest.raises(ValidationError):
            validator.validate(record | {name: rows})


def test_a_key_of_a_later_version_is_allowed(validator: Draft202012Validator) -> None:
    validator.validate(lines()[-1] | {"new": 1})


def test_fields_say_what_they_mean() -> None:
    schema = log_schema()
    for definition in schema["$defs"].values():
        assert definition["title"]
    end = schema["$defs"]["EndRecord"]["properties"]
    assert "signal that ended the target" in end["signal"]["description"]
    row = schema["$defs"]["ModuleRow"]["properties"]
    assert "step's peak" in row["at_peak"]["description"]
    assert end["t"]["description"] == "Seconds since the run began."
