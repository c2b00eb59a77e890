"""JSONL: one record a line, as `memtop schema` describes it."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.model.records import Record
from memtop.sinks.base import LineSink

_encode = msgspec.json.Encoder().encode


def line(record: Record) -> bytes:
    """The record as one JSON object and a newline. NaN and infinity become `null`: JSON has no word for them."""
    try:
        return _encode(record) + b"\n"
    except UnicodeEncodeError:  # a file name that is not UTF-8, in a command line
        return _encode(_encodable(msgspec.to_builtins(record))) + b"\n"


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


class JsonlSink(LineSink):
    """Every record, one JSON object a line."""

    def encode(self, record: Record) -> bytes:
        """See `LineSink`."""
        return line(record)
