"""The log's JSON Schema, made from the records themselves: field docstrings become descriptions."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import msgspec

from memtop.model import deep_records, forecast, forecast_record, record_base, records, specs
from memtop.model.records import KINDS, VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def log_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one log line. Every key is required; unknown ones are allowed."""
    refs, definitions = msgspec.json.schema_components(list(KINDS.values()), ref_template="#/$defs/{name}")
    meanings = _meanings(record_base, deep_records, forecast, forecast_record, records, specs)
    for name, definition in definitions.items():
        _complete(name, definition, meanings)
    return {
        "$schema": DIALECT,
        "title": "A line of a memtop log",
        "description": "One JSON object. Sizes are integer bytes, times seconds since the run began, temperatures °C, "
        "power W. null is not known; it is never written as 0.",
        "oneOf": list(refs),
        "$defs": definitions,
    }


def _complete(name: str, definition: dict[str, Any], meanings: dict[str, dict[str, str]]) -> None:
    properties: dict[str, dict[str, Any]] = definition["properties"]
    for key, value in properties.items():
        value.pop("default", None)  # a writer leaves nothing out
        if meaning := meanings.get(name, {}).get(key):
            value["description"] = meaning
    if "kind" in properties:
        properties["kind"] = {"const": properties["kind"]["enum"][0]}
        properties["v"]["const"] = VERSION
        order = ["v", "kind", "t", "rank"]
        definition["properties"] = {
            key: properties[key] for key in (*order, *(k for k in properties if k not in order))
        }
    definition["required"] = list(definition["properties"])


def _meanings(*modules: Any) -> dict[str, dict[str, str]]:
    """{class: {field: docstring}}, inherited ones included; empty where the source is not at hand."""
    try:
        nodes = [node for module in modules for node in ast.parse(inspect.getsource(module)).body]
    except OSError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            inherited = [found.get(base.id, {}) for base in node.bases if isinstance(base, ast.Name)]
            found[node.name] = {key: text for fields in inherited for key, text in fields.items()} | _of_fields(node)
    return found


def _of_fields(node: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for field, after in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            texts[field.target.id] = inspect.cleandoc(after.value.value)
    return texts
