"""Queries that every store supports: conditions on rows, and measures over groups of rows.

The set is small on purpose: Elasticsearch and Delta tables can both execute every condition and measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_null"]
Function = Literal["count", "distinct", "sum", "min", "max", "mean"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`column operator value`. Several conditions are combined with *and*. A null value matches no condition."""

    column: str
    operator: Operator
    value: Any = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One number for each group, in the result column `name`.

    `distinct` counts distinct values that are not null. `count` counts rows and uses no column.
    """

    name: str
    function: Function
    column: str = ""


COUNT = Measure("count", "count")
Where = Sequence[Condition]
