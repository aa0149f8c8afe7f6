"""`tocsin plugins new detector NAME`: a working package, to be changed rather than filled in."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from tocsin.config import discovery
from tocsin.contract.plugin import Detector
from tocsin.errors import ConfigError

_LONGEST = 60
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tocsin-{dashed}"
version = "0.1.0"
description = "A Tocsin detector: {name}"
requires-python = ">=3.11"
dependencies = ["tocsin"]

[project.entry-points."tocsin.plugins"]
{name} = "tocsin_{name}"

[tool.hatch.build.targets.wheel]
packages = ["tocsin_{name}"]
"""

_PACKAGE = '"""Tocsin plug-ins: {name}."""\n'

_DETECTOR = '''\
"""Calls of a model fail more often than they may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin import Detector, Requires, Score, Stability, Subject, Window, param


@dataclass(frozen=True, slots=True)
class Params:
    """Settings; each one stands in tocsin.yaml under `detectors: {{{name}: {{params: …}}}}`."""

    min_calls: int = param(50, ge=1, doc="a model with fewer calls in the window is not judged")


class {cls}(Detector[Params]):
    """Calls of a model fail more often than they may.

    What it sees
        The share of a model's calls whose `event.outcome` is `failure`, window by window.
    Method
        A fixed threshold on that share: a rule. A detector that learns what is normal leaves `threshold`
        out, names a baseline in `requires` and has a `fit`.
    Blind spots
        Calls that the model server never logged.
    False alarms
        A deployment that was rolled back at once.
    Respond
        Look at `error.code` of the failed calls, then at what was deployed in that window.
    """

    id = "{name}"
    requires = Requires("inference", window="1h")
    stability = Stability.EXPERIMENTAL
    threshold = 0.2

    def score(self, window: Window) -> Iterator[Score]:
        rows = window.rows("inference", ["tocsin.model.name", "event.outcome"])
        failed = (pl.col("event.outcome") == "failure").sum().alias("failed")
        models = rows.group_by("tocsin.model.name").agg(pl.len().alias("calls"), failed)
        for model, calls, failures in models.sort("tocsin.model.name").iter_rows():
            if model is not None and calls >= self.params.min_calls:
                share = failures / calls
                yield Score(
                    Subject("model", model),
                    share,
                    reason=f"{{share:.0%}} of {{calls}} calls failed in {{window.words}}",
                    evidence={{"calls": calls, "failed": failures}},
                )
'''

_CASES = """\
# Rows in, findings expected. Run with: tocsin plugins check .
- name: half of the calls fail
  kind: fires
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 50}}
  expect: [{{subject.type: model, subject.id: credit, severity: high}}]

- name: a few calls fail
  kind: stays_quiet
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 3}}

- name: just under the threshold
  kind: near_miss
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 19}}
"""

_ROWS = '''\
"""Rows for the cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl


def calls(count: int, failed: int) -> pl.DataFrame:
    """Calls of one model within an hour, the first `failed` of them failures."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    return pl.DataFrame(
        {{
            "@timestamp": [start + timedelta(seconds=30 * i) for i in range(count)],
            "event.id": [f"call-{{i}}" for i in range(count)],
            "event.outcome": ["failure" if i < failed else "success" for i in range(count)],
            "tocsin.model.name": "credit",
        }}
    )
'''

_README = """\
# tocsin-{dashed}

A detector for Tocsin. One file, `tocsin_{name}/{name}.py`; its cases are data,
`cases/{name}.yaml`.

    tocsin plugins check .      # conformance checks and cases
    pip install -e .            # now `tocsin plugins list` shows it
"""


def write(name: str, directory: Path) -> Path:
    """Write the package `tocsin-NAME` below a folder.

    Raises:
        ConfigError: the name is not lower_snake_case, or the folder is already there.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        raise ConfigError(
            f"{name[:_LONGEST]!r} is no name for a detector: lower_snake_case of up to {_LONGEST} characters, "
            "such as failed_calls"
        )
    if name in discovery.discover().of(Detector):  # type: ignore[type-abstract]
        raise ConfigError(f"there is a detector {name!r} already; give yours another name")
    folder = directory / f"tocsin-{name.replace('_', '-')}"
    if folder.exists():
        raise ConfigError("is there already; it was left as it is", folder)
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "cls": "".join(map(str.capitalize, name.split("_"))),
    }
    package = folder / f"tocsin_{name}"
    files = {
        folder / "pyproject.toml": _PYPROJECT,
        folder / "README.md": _README,
        folder / "cases" / f"{name}.yaml": _CASES,
        package / "__init__.py": _PACKAGE,
        package / f"{name}.py": _DETECTOR,
        package / "rows.py": _ROWS,
    }
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.format(**words))
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", folder) from None
    return folder
