"""The scorecard's rows as a file of the repository, from which docs/scorecard.md is written."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.card import Row
from benchmarks.pooling import curve, quiet_scores

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).parent / "scorecard.json"


def write(family: str, rows: Sequence[Row], seeds: int, seconds: float) -> None:
    """Store a family's rows, the ROC curves of cases with scores, and when and on which commit they were measured."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    content[family] = {
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),  # noqa: DTZ011  (the day on which a person measured)
        "seeds": seeds,
        "seconds": round(seconds, 1),
        "rows": [_stored(row) for row in rows],
        "curves": list(_curves(rows)),
    }
    lines = ",\n".join(f'"{name}": {_lines(content[name])}' for name in sorted(content))
    FILE.write_text(f"{{\n{lines}\n}}\n")


def _lines(family: dict[str, Any]) -> str:
    """A family as JSON, a row a line, so that a change is readable."""
    parts = [f'"{key}": {json.dumps(family[key])}' for key in family if key not in ("rows", "curves")]
    for kind in ("rows", "curves"):
        lines = ",\n  ".join(json.dumps(part, ensure_ascii=False) for part in family[kind])
        parts.append(f'"{kind}": [\n  {lines}\n ]' if family[kind] else f'"{kind}": []')
    return "{" + ",\n ".join(parts) + "}"


def _stored(row: Row) -> dict[str, Any]:
    kept = dataclasses.asdict(row)
    del kept["scores"]
    for name in ("value", "low", "high"):
        kept[name] = kept[name] if kept[name] is None else round(kept[name], 4)
    return kept


def _curves(rows: Sequence[Row]) -> Iterable[dict[str, Any]]:
    quiet = quiet_scores(rows)
    for row in rows:
        known = quiet.get((row.detector, row.data))
        if known is None or row.quiet or row.least != 1.0 or len(row.scores) < 10 or len(known) < 100:
            continue
        points = [[round(x, 4), round(y, 3)] for x, y in curve(known, np.asarray(row.scores))]
        yield {"detector": row.detector, "data": row.data, "case": row.case, "points": points}
