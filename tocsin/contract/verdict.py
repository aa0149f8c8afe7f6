"""What is the likely cause of a change: an attack, drift, a change of the pipeline, or the calendar.

A verdict is a reading aid and may choose a route. It never lowers a score: whoever writes telemetry could otherwise
choose clues that make a detector judge less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tocsin.contract.findings import Json


class Verdict(StrEnum):
    """The likely cause of a change."""

    ATTACK = "attack"
    DRIFT = "drift"
    PIPELINE_CHANGE = "pipeline change"
    CALENDAR = "calendar"
    UNEXPLAINED = "unexplained"


#: By how much a cause must be better supported than the next one. A cause that calms the reader needs more.
_MARGIN, _CALM_MARGIN = 1.0, 2.0
_CALM = (Verdict.PIPELINE_CHANGE, Verdict.CALENDAR)


class Clue(NamedTuple):
    """A fact that speaks for a cause, or against it if `weight` is negative.

    `weight` is the natural logarithm of how many times more probable the fact is under this cause than under the
    others: 1 is a weak clue, 3 a strong one. `words` state the fact in a few words.
    """

    cause: Verdict
    weight: float
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict, the facts that speak for it, and the facts that speak against it, the strongest first."""

    verdict: Verdict
    supporting: tuple[str, ...] = ()
    opposing: tuple[str, ...] = ()

    @property
    def lead(self) -> str:
        """The first words of a finding's sentence, such as `likely attack`."""
        return "cause unexplained" if self.verdict is Verdict.UNEXPLAINED else f"likely {self.verdict}"

    def to_dict(self) -> dict[str, Json]:
        """The entries `verdict`, `verdict_for` and `verdict_against` of a finding's evidence."""
        return {
            "verdict": self.verdict.value,
            "verdict_for": list(self.supporting),
            "verdict_against": list(self.opposing),
        }


def explained(clues: Iterable[Clue]) -> Explanation:
    """Weigh clues: the cause with the largest sum of weights (log-odds; Good 1950), if its lead is large enough.

    The lead is over the second cause, where "unexplained" has the sum 0. It must be at least 1, and at least 2 for a
    change of the pipeline and for the calendar: an attack that passes for one of them is the worst mistake.

    Returns:
        The explanation. Facts for other causes oppose the verdict. For `unexplained`, all positive clues oppose it.
    """
    ordered = sorted(clues, key=lambda clue: (-abs(clue.weight), clue.words))
    sums: dict[Verdict, float] = {Verdict.UNEXPLAINED: 0.0}
    for clue in ordered:
        sums[clue.cause] = sums.get(clue.cause, 0.0) + clue.weight
    best, *others = sorted(sums, key=lambda cause: (-sums[cause], cause))
    margin = _CALM_MARGIN if best in _CALM else _MARGIN
    if not others or sums[best] - sums[others[0]] < margin:
        best = Verdict.UNEXPLAINED
    speaks = [(clue.words, (clue.cause is best) == (clue.weight > 0)) for clue in ordered if clue.weight]
    supporting, opposing = (
        tuple(dict.fromkeys(words for words, for_it in speaks if for_it is side)) for side in (True, False)
    )
    return Explanation(best, supporting, opposing)
