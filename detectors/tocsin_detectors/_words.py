"""Numbers in the sentences of findings."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 row`, `1,200 rows`, `2 queries` (`many` is the plural that is not `one` + s)."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def figure(value: float) -> str:
    """A figure for display: a whole number from 1,000 on, otherwise three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and the number of the other names: `a, b and 3 more`."""
    more = len(names) - most
    if more > 0:
        return f"{', '.join(names[:most])} and {more} more"
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def short(name: str, most: int = 40) -> str:
    """A name for a sentence: a longer name loses its middle, because ids often differ at the end."""
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"
