"""What may be asked of a store: conditions on rows and measures over groups of them.

Small and closed on purpose: each of them runs inside Elasticsearch as well as on Delta tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_null"]
Function = Literal["count", "distinct", "sum", "min", "max", "mean"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`column operator value`; several of them are joined by *and*. A null matches nothing."""

    column: str
    operator: Operator
    value: Any = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure for each group, named `name` in the answer.

    `distinct` counts different values that are not null; `count` needs no column.
    """

    name: str
    function: Function
    column: str = ""


COUNT = Measure("count", "count")
Where = Sequence[Condition]
