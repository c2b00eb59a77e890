"""Checks with a time limit each, side by side: one that hangs is a warning, and never hangs the doctor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from memtop.doctor.report import Check, Finding, warning
from memtop.model import units
from memtop.model.text import harmless

T = TypeVar("T")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A check not yet asked."""

    name: str
    ask: Callable[[], Finding]
    limit: float
    """Seconds from the start of all checks."""


class Later(Generic[T]):
    """A value computed on a thread of its own, for all who want it. The thread is a daemon: it may hang for ever."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._done = threading.Event()
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._compute = compute
        self.seconds: float | None = None
        """How long it took; `None` while it runs."""
        threading.Thread(target=self._run, name="memtop-doctor", daemon=True).start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._values.append(self._compute())
        except BaseException as error:
            self._error = error
        self.seconds = time.monotonic() - began
        self._done.set()

    def get(self, timeout: float | None = None) -> T:
        """The value. Raises `TimeoutError` after `timeout` seconds, or what the computation raised."""
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._values[0]


def answer_all(questions: Sequence[Question]) -> tuple[Check, ...]:
    """Ask all at once; the answers in the order of the questions, by the largest of their limits at the latest."""
    began = time.monotonic()
    asked = [Later(question.ask) for question in questions]
    return tuple(_answer(question, later, began) for question, later in zip(questions, asked, strict=True))


def _answer(question: Question, later: Later[Finding], began: float) -> Check:
    try:
        finding = later.get(max(0.0, began + question.limit - time.monotonic()))
    except TimeoutError:
        finding = warning(f"no answer within {units.duration(question.limit)}")
    except Exception as failure:
        finding = warning(f"could not be checked: {harmless(str(failure), 200) or type(failure).__name__}")
    seconds = later.seconds if later.seconds is not None else time.monotonic() - began
    return Check(
        name=question.name,
        status=finding.status,
        message=finding.message,
        remedy=finding.remedy,
        seconds=round(seconds, 3),
    )
