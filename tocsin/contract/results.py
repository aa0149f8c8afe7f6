"""Checks of the values that a detector's `fit` and `score` return: a wrong type is one sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from tocsin.contract.findings import Score
from tocsin.contract.plugin import Detector
from tocsin.contract.streams import LONGEST_KEYWORD
from tocsin.contract.windows import Baseline
from tocsin.errors import PluginError

#: The limits of a score's evidence: its size as JSON in bytes, and how deep objects and lists are nested in it.
LARGEST_EVIDENCE, DEEPEST_EVIDENCE = 2**20, 64


def checked_baseline(detector: Detector[Any], returned: Any) -> Baseline | None:
    """The result of `fit`, if it is a baseline that the platform can store, or None.

    Raises:
        PluginError: it is something else, or the baseline holds a value that is neither a frame nor JSON.
    """
    if returned is None or isinstance(returned, Baseline):
        if returned is not None:
            _check_contents(detector, returned)
        return returned
    raise PluginError(
        detector.id,
        f"{_place(detector, 'fit')} returned {_described(returned)}; it must return a tocsin.Baseline, "
        "or None if there is too little history",
    )


def checked_scores(detector: Detector[Any], returned: Any) -> Iterable[Any]:
    """The result of `score`, if it can be iterated.

    Raises:
        PluginError: it cannot.
    """
    if isinstance(returned, Iterable) and not isinstance(returned, str | bytes):
        return returned
    raise PluginError(
        detector.id,
        f"{_place(detector, 'score')} returned {_described(returned)}; "
        "it must yield one tocsin.Score for each subject",
    )


def checked_score(detector: Detector[Any], given: Any) -> Score:
    """One item of `score`, if it is a score.

    Raises:
        PluginError: it is something else.
    """
    if isinstance(given, Score):
        return given
    raise PluginError(
        detector.id,
        f"{_place(detector, 'score')} yielded {_described(given)}; "
        "it must yield one tocsin.Score for each subject",
    )


def plain_evidence(evidence: Any) -> Any:
    """Evidence as plain JSON values, so that it can be sent to another process, stored and shown.

    Raises:
        TypeError: it is not JSON.
        ValueError: it is too large, or is nested too deeply.
        RecursionError: it is nested much too deeply, or contains itself.
    """
    encoded = msgspec.json.encode(evidence)
    if len(encoded) > LARGEST_EVIDENCE:
        raise ValueError(
            f"its evidence has {len(encoded):,} bytes as JSON; the limit is {LARGEST_EVIDENCE:,}; return a summary"
        )
    plain = msgspec.json.decode(encoded)
    level: list[Any] = [plain]
    for _ in range(DEEPEST_EVIDENCE + 1):
        level = [item for value in level for item in _items(value) if isinstance(item, dict | list)]
        if not level:
            return plain
    raise ValueError(f"its evidence is nested more than {DEEPEST_EVIDENCE} levels deep; return it flatter")


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def plain_text(text: str) -> str:
    """A text of a score as a plain `str`, not a subclass that a plug-in defines.

    Raises:
        ValueError: no store can write it: it is too long, or contains half a character (a lone surrogate).
    """
    plain = "".join(text)
    plain.encode()
    if len(plain) > LONGEST_KEYWORD:
        raise ValueError(f"a text has {len(plain):,} characters; the limit is {LONGEST_KEYWORD:,}")
    return plain


def _check_contents(detector: Detector[Any], baseline: Baseline) -> None:
    place = _place(detector, "fit")
    for name in ("frames", "values"):
        if not isinstance(getattr(baseline, name), Mapping):
            what = _described(getattr(baseline, name))
            raise PluginError(
                detector.id, f"{place} returned a Baseline whose {name} are {what}; pass a dict"
            )
    for name, frame in baseline.frames.items():
        if not isinstance(frame, pl.DataFrame):
            raise PluginError(
                detector.id,
                f"{place} returned a Baseline whose frames[{name!r}] is {_described(frame)}; it must be a polars.DataFrame",
            )
    for name, value in baseline.values.items():
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise PluginError(
                detector.id, f"{place} returned a Baseline whose values[{name!r}] is not JSON: {error}"
            ) from None


def _described(value: Any) -> str:
    """`None`, `a dict`, `an int`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _place(detector: Detector[Any], method: str) -> str:
    """`SlowCalls.fit (slow_calls.py:41)`."""
    code = getattr(getattr(type(detector), method), "__code__", None)
    name = f"{type(detector).__name__}.{method}"
    return name if code is None else f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"
