"""The conformance checks: the same small, named checks for built-in plug-ins and for others.

`for check in checks(plugin, cases): check()` raises `CheckError` if the plug-in violates the plug-in contract. A class
declares the checks that do not apply to it, with the reason: `skip_checks = {"check_row_order_…": "why"}`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tocsin.clock import EPOCH
from tocsin.config import params as settings
from tocsin.contract import atlas
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Family
from tocsin.contract.panels import MOST_BUCKETS, Distribution
from tocsin.contract.panels import fields as panel_fields
from tocsin.contract.plugin import Detector, Plugin, Stability
from tocsin.contract.streams import SOURCES, STREAMS
from tocsin.contract.windows import FrameSource, Window
from tocsin.errors import ConfigError
from tocsin.testing import cases as case_files
from tocsin.testing import day_one_checks, early_checks
from tocsin.testing.cases import BUDGET, KINDS, Case
from tocsin.testing.evaluate import evaluate
from tocsin.testing.reruns import CheckError, configured, must, rerun, result, same

__all__ = ["Check", "CheckError", "checks"]

HEADINGS = ("What it sees", "Method", "Blind spots", "False alarms", "Respond")
_SHORTEST_DESCRIPTION = 40  # minimum number of characters of a panel's description
_SHORTEST_BODY = 20  # minimum number of characters under a heading of the docstring
_ID = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Check:
    """One named check of one plug-in."""

    name: str
    run: Callable[[], None]
    skipped: str = ""

    def __call__(self) -> None:
        self.run()


def checks(
    plugin: type[Plugin[Any]], cases: Sequence[Case] = (), playbooks: Sequence[str] = ()
) -> Iterator[Check]:
    """Every check that applies to a plug-in.

    Args:
        plugin: the class.
        cases: a detector's test cases, whose rows the checks of its behavior use.
        playbooks: ids of all playbooks; if empty, the detector's playbook is not checked.
    """
    skipped: dict[str, str] = getattr(plugin, "skip_checks", {})
    found: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (check, (plugin,)) for check in (check_identity, check_params, check_docstring)
    ]
    if issubclass(plugin, Detector):
        found += [(check, (plugin,)) for check in (check_techniques, check_streams, check_panels)]
        found.append((check_playbook, (plugin, playbooks)))
        found.append((check_cases_of_every_kind, (plugin, cases)))
        behavior = (
            check_is_deterministic,
            check_row_order_does_not_matter,
            check_unknown_columns_are_ignored,
            check_evidence_is_json,
            check_leaves_rows_unchanged,
            check_missing_columns,
            check_empty_window,
            *(() if plugin.early is None else early_checks.CHECKS),
            *day_one_checks.of(plugin),
        )
        first = next((c for c in cases if c.kind == "fires"), None)
        found += [(check_case, (plugin, case)) for case in cases]
        if first is not None:
            found += [(check, (plugin, first)) for check in behavior]
    for function, arguments in found:
        name = function.__name__
        if arguments[1:] and isinstance(arguments[1], Case):
            name = f"{name}[{arguments[1].name}]"
        yield Check(name, functools.partial(function, *arguments), skipped.get(function.__name__, ""))


def check_identity(plugin: type[Plugin[Any]]) -> None:
    """`id` is lower_snake_case and equal to the module's name; `stability` is declared."""
    must(bool(_ID.fullmatch(plugin.id)), f"id {plugin.id!r} is not lower_snake_case")
    module = plugin.__module__.rpartition(".")[2]
    must(module == plugin.id, f"id {plugin.id!r} is in module {module!r}; name the file {plugin.id}.py")
    must(isinstance(plugin.stability, Stability), "stability is not declared")


def check_params(plugin: type[Plugin[Any]]) -> None:
    """The settings are a frozen dataclass. Each setting has documentation, and its default is within its bounds."""
    type_ = plugin.params_type()
    must(type_.__dataclass_params__.frozen, f"{type_.__name__} is not frozen")
    for item in dataclasses.fields(type_):
        must(
            bool(item.metadata.get("doc")), f"setting {item.name} has no doc; declare it with param(…, doc=…)"
        )
    required = [f.name for f in dataclasses.fields(type_) if _is_required(f)]
    if not required:
        try:
            settings.build(type_, {f.name: getattr(type_(), f.name) for f in dataclasses.fields(type_)})
        except ConfigError as error:
            raise CheckError(f"a default is not allowed by its own declaration: {error}") from None


def check_docstring(plugin: type[Plugin[Any]]) -> None:
    """A detector's docstring has five headings. The docstring of another plug-in states what delivery it guarantees."""
    words = plugin.__doc__ or ""
    if not issubclass(plugin, Detector):
        must("once" in words, "the docstring does not state the delivery: at least once, or at most once")
        return
    lines = [line.strip() for line in words.splitlines()]
    must(set(HEADINGS) <= set(lines), f"the docstring needs the headings {', '.join(HEADINGS)}")
    at = [lines.index(heading) for heading in HEADINGS]
    must(at == sorted(at), "the docstring's headings are out of order")
    for start, end in zip(at, [*at[1:], len(lines)], strict=True):
        body = " ".join(lines[start + 1 : end]).strip()
        must(len(body) >= _SHORTEST_BODY, f"the text under {lines[start]!r} is too short: {body!r}")


def check_techniques(plugin: type[Detector[Any]]) -> None:
    """Every technique id exists in MITRE ATLAS."""
    for technique in plugin.atlas:
        try:
            atlas.name(technique)
        except KeyError as error:
            raise CheckError(str(error.args[0])) from None


def check_streams(plugin: type[Detector[Any]]) -> None:
    """Each stream that the detector requires exists and is one that collectors fill."""
    requires = getattr(plugin, "requires", None)
    for stream in requires.streams if requires is not None else ():
        must(stream in SOURCES, f"no collector fills {stream!r}; require one of {', '.join(SOURCES)}")


def check_panels(plugin: type[Detector[Any]]) -> None:
    """The family is one of `Family`. Each panel names fields of its stream, and its description states what to do."""
    must(isinstance(plugin.family, Family), f"family is {plugin.family!r}; write one of tocsin.Family")
    for panel in plugin.panels:
        it, rows = f"panel {panel.title!r}", panel.buckets if isinstance(panel, Distribution) else 2
        must(2 <= rows <= MOST_BUCKETS, f"{it} has {rows} rows; it must have 2 to {MOST_BUCKETS}")
        must(
            len(panel.description) >= _SHORTEST_DESCRIPTION,
            f"{it}: the description is too short to state what to do",
        )
        stream, fields = panel_fields(panel)
        must(not fields or stream in STREAMS, f"{it} shows the unknown stream {stream!r}")
        for field, fit in fields.items():
            column = STREAMS[stream].by_name.get(field)
            must(column is not None, f"{it} shows {field!r}, which is not a field of {stream}")
            fits = column is None or column.type in fit
            must(fits, f"{it} cannot show {field!r} of type {column.type if column else ''}")


def check_playbook(plugin: type[Detector[Any]], playbooks: Sequence[str]) -> None:
    """The playbook that the detector names exists."""
    if plugin.playbook and playbooks:
        must(
            plugin.playbook in playbooks,
            f"unknown playbook {plugin.playbook!r}; the playbooks are {', '.join(playbooks)}",
        )


def check_cases_of_every_kind(plugin: type[Detector[Any]], cases: Sequence[Case]) -> None:
    """There is a case that fires, one that stays quiet, and a near miss."""
    lacking = [kind for kind in KINDS if kind not in {case.kind for case in cases}]
    must(not lacking, f"cases/{plugin.id}.yaml has no case of kind {', '.join(lacking)}")


def check_case(plugin: type[Detector[Any]], case: Case) -> None:
    """The detector reports the findings that the case expects, within the time budget."""
    began = time.process_time()
    problems = case_files.failures(case, case_files.run(case, plugin).findings)
    must(not problems, f"case {case.name!r}: {'; '.join(problems)}")
    took = time.process_time() - began
    must(took < BUDGET, f"case {case.name!r} took {took:.0f} s of CPU; the budget is {BUDGET:.0f} s")


def check_is_deterministic(plugin: type[Detector[Any]], case: Case) -> None:
    """A second fit and evaluation with the same rows give the same scores."""
    second = case_files.run(case, plugin)
    same(result(plugin, case), second, "a second run with the same rows gave other scores")


def check_row_order_does_not_matter(plugin: type[Detector[Any]], case: Case) -> None:
    """Rows in another order give the same scores."""
    shuffled = rerun(plugin, case, lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1), refit=True)
    same(result(plugin, case), shuffled, "rows in another order gave other scores")


def check_unknown_columns_are_ignored(plugin: type[Detector[Any]], case: Case) -> None:
    """An additional column that is not in the stream's schema does not change the scores."""
    wider = rerun(plugin, case, lambda frame: frame.with_columns(pl.lit(7).alias("tocsin.unknown.column")))
    same(result(plugin, case), wider, "an unknown column changed the scores")


def check_missing_columns(plugin: type[Detector[Any]], case: Case) -> None:
    """Events that have only their required fields cause no error."""
    required = {c.name for s in STREAMS.values() for c in s.columns if c.required} | {"event.id"}
    rerun(plugin, case, lambda frame: frame.select([c for c in frame.columns if c in required]))


def check_empty_window(plugin: type[Detector[Any]], case: Case) -> None:
    """A window without rows causes no error and no finding."""
    detector = configured(plugin, case)
    start = EPOCH
    window = Window(
        start, start + detector.requires.window, FrameSource.of({}), result(plugin, case).baseline
    )
    must(
        not any(judged.finding for judged in judge(detector, window)),
        "a window without rows caused a finding",
    )


def check_evidence_is_json(plugin: type[Detector[Any]], case: Case) -> None:
    """Evidence is plain JSON without NaN, and every finding has a reason."""
    for finding in result(plugin, case).findings:
        must(bool(finding.reason.strip()), "a finding has no reason")
        try:
            json.dumps(finding.evidence, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckError(f"evidence is not JSON: {error}") from None


def check_leaves_rows_unchanged(plugin: type[Detector[Any]], case: Case) -> None:
    """`score` does not change the frames that it receives."""
    frames = {stream: case_files.rows(given) for stream, given in case.events.items()}
    before = {stream: frame.clone() for stream, frame in frames.items()}
    fitted = result(plugin, case).baseline
    evaluate(
        configured(plugin, case),
        frames,
        baseline=fitted,
        snapshots=case_files.snapshots(case),
        window=case.window,
    )
    for stream, frame in frames.items():
        must(frame.equals(before[stream]), f"the rows of {stream} were changed")


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
