"""Measured rows on disk, so that a stopped scorecard goes on: a file for each family and seed, below `.cache/`.

The name of a file contains a digest of what the figures depend on: the code of the product, the family's own module and
the modules of `benchmarks` and `tests` that it imports, and the versions of the numeric libraries.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from benchmarks.card import Row

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".cache" / "scorecard"
#: Rooms whose code can change a figure. The alert path, dashboards, commands and stores cannot.
PRODUCT = (
    "tocsin/contract", "tocsin/stats", "tocsin/datasets", "tocsin/testing", "detectors", "collectors"
)  # fmt: skip
LIBRARIES = ("numpy", "scipy", "scikit-learn", "polars", "pyod")


def load(family: str, seed: int, folder: Path = FOLDER) -> tuple[list[Row], float] | None:
    """The rows of a family and seed, and the CPU seconds that they took; None if they are not measured yet."""
    path = _path(family, seed, folder)
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    rows = [Row(**{**row, "scores": tuple(row["scores"])}) for row in content["rows"]]
    return rows, content["seconds"]


def store(family: str, seed: int, rows: list[Row], seconds: float, folder: Path = FOLDER) -> None:
    """Write the rows of a family and seed. A reader sees the whole file or none."""
    path = _path(family, seed, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"seconds": seconds, "rows": [dataclasses.asdict(row) for row in rows]}
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def _path(family: str, seed: int, folder: Path) -> Path:
    return folder / f"{family}-{seed}-{digest(family)}.json"


@functools.cache
def digest(family: str) -> str:
    """What a family's figures depend on, in 16 hexadecimal digits."""
    found = hashlib.sha256(repr([(name, metadata.version(name)) for name in LIBRARIES]).encode())
    product = [path for room in PRODUCT for path in sorted((ROOT / room).rglob("*.py"))]
    for path in (*product, *sorted(_imported(ROOT / "benchmarks" / "scorecards" / f"{family}.py"))):
        found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _imported(path: Path, known: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """A module and those of `benchmarks` and `tests` that it imports, also inside functions."""
    known |= {path}
    for module in _modules(path):
        for found in (ROOT / f"{module}.py", ROOT / module / "__init__.py"):
            if found.exists() and found not in known:
                known |= _imported(found, known)
    return known


def _modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            yield from (n.replace(".", "/") for n in names if n.partition(".")[0] in ("benchmarks", "tests"))
