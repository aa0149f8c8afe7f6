"""Cases: rows in, findings expected. Data files that run the same here and in a plug-in's repository.

A case file is a YAML list of mappings: `name`, `kind` (fires, stays_quiet, near_miss), `events` and
optionally `baseline` (rows by stream), `snapshots` (rows by digest), `params`, `window`, `expect`. Rows are
a list of mappings with dotted keys, or `{generate: module.function, …}`: a function that returns a frame
(for `snapshots` also a mapping of frames by digest).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tocsin.config import params as settings
from tocsin.contract.findings import Finding, Severity
from tocsin.contract.plugin import Detector, param
from tocsin.errors import ConfigError, InputError
from tocsin.testing.evaluate import Evaluation, evaluate

KINDS = ("fires", "stays_quiet", "near_miss")
#: Seconds that one case may take, baseline included, before a check says that the detector is slow.
BUDGET = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One case as it stands in its file."""

    name: str = param(doc="what the case shows")
    kind: str = param(doc="what a detector should do", choices=KINDS)
    events: dict[str, Any] = param(doc="rows by stream")
    baseline: dict[str, Any] | None = param(None, doc="trusted rows by stream")
    snapshots: dict[str, Any] = param({}, doc="rows of dataset snapshots by digest")
    params: dict[str, Any] = param({}, doc="the detector's settings")
    window: str | None = param(None, doc="length of a window, in place of the detector's own")
    expect: list[dict[str, str]] = param([], doc="subject.type, subject.id, and severity at least")


def load(path: Path) -> list[Case]:
    """Read a case file.

    Raises:
        ConfigError: it is not YAML, or a case is declared wrongly.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML: {error}", path) from None
    if not isinstance(raw, list):
        raise ConfigError("must be a list of cases", path)
    cases: list[Case] = []
    for number, values in enumerate(raw, 1):
        try:
            cases.append(settings.build(Case, values))
        except ConfigError as error:
            raise ConfigError(f"case {number}: {error}", path) from None
    return cases


def run(case: Case, plugin: type[Detector[Any]]) -> Evaluation:
    """Evaluate a case with a detector."""
    return evaluate(
        plugin(settings.build(plugin.params_type(), case.params)),
        {stream: rows(given) for stream, given in case.events.items()},
        baseline=None if case.baseline is None else {s: rows(given) for s, given in case.baseline.items()},
        snapshots=snapshots(case),
        window=case.window,
    )


def failures(case: Case, findings: Sequence[Finding]) -> list[str]:
    """What is wrong with the findings of a case; nothing if it came out as expected."""
    problems = []
    if (case.kind == "fires") != bool(case.expect):
        problems.append(f"{case.kind}: expects {len(case.expect)} findings")
    expected = {(e["subject.type"], e["subject.id"]): e.get("severity", "low") for e in case.expect}
    for subject, severity in expected.items():
        found = [f.severity for f in findings if f.subject == subject]
        if not found:
            problems.append(f"no finding about {subject[0]} {subject[1]}")
        elif max(s.rank for s in found) < Severity(severity).rank:
            problems.append(f"{subject[0]} {subject[1]}: {', '.join(found)}, expected {severity} or worse")
    problems += [
        f"finding about {f.subject.type} {f.subject.id} was not expected: {f.severity}, {f.reason}"
        for f in findings
        if f.subject not in expected
    ]
    return problems


def rows(given: Any) -> pl.DataFrame:
    """Rows of a case as a frame.

    Raises:
        InputError: they are neither a list nor a generator that gives a frame.
    """
    if isinstance(given, list):
        return pl.DataFrame(given, infer_schema_length=None)
    made = _generate(given)
    if not isinstance(made, pl.DataFrame):
        raise InputError(f"{given['generate']} gave a {type(made).__name__}, not a Polars DataFrame")
    return made


def snapshots(case: Case) -> dict[str, pl.LazyFrame]:
    """The rows of a case's dataset snapshots, by digest."""
    given = case.snapshots
    if "generate" in given:
        return {digest: frame.lazy() for digest, frame in _generate(given).items()}
    return {digest: rows(r).lazy() for digest, r in given.items()}


def _generate(given: Any) -> Any:
    if not isinstance(given, Mapping) or "generate" not in given:
        raise InputError("rows must be a list of mappings, or {generate: module.function, …}")
    module, _, function = str(given["generate"]).rpartition(".")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot find the generator {given['generate']}: {error}") from None
    return make(**{key: value for key, value in given.items() if key != "generate"})
