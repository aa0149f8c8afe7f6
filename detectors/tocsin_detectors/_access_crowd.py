"""Many principals at once, and several spellings of one: floods, and names that imitate others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tocsin.contract.aspects import changed, not_judged
from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.windows import Window
from tocsin.stats.surprise import Floats, Ints, counted
from tocsin.words import short
from tocsin_detectors._access_log import Log
from tocsin_detectors._access_rows import UNKNOWN
from tocsin_detectors._spelling import changed as changed_names
from tocsin_detectors._spelling import is_disguised, pooled

#: Maximum number of new principals of a window that are judged one by one: those with most nats, and with hits first.
JUDGED = 1_000
#: Number of new principals of a window that is never unusual.
USUAL = 25
#: Values of an ordinary new spelling and of one that imitates another name by characters that look alike.
SPELLED, DISGUISED = 1.0, 2.0
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Crowd:
    """The principals of a window."""

    judged: Ints  # codes, sorted by name
    new: int  # number of those that the past does not contain
    left: int  # number of new principals that are not judged one by one
    usual: float  # new principals of a window in the past

    @classmethod
    def of(cls, past: Log, today: Log, weight: Floats, period: float) -> Crowd:
        """The principals of a window.

        Args:
            past: the accesses before the window.
            today: the accesses of the window, with the same codes.
            weight: by principal: the more, the sooner it is judged if there are too many.
            period: length of the baseline's windows, in days.
        """
        codes = np.unique(today.codes["principal"])
        known = np.zeros(len(today.pools), dtype=bool)
        known[past.codes["principal"]] = True
        new = codes[~known[codes]]
        chosen = new[np.argsort(-weight[new], kind="stable")[:JUDGED]]
        names = today.names["principal"].values
        judged = sorted([*codes[known[codes]].tolist(), *chosen.tolist()], key=names.__getitem__)
        usual = _usual(past, period) if len(new) > USUAL else 0.0
        return cls(np.asarray(judged, dtype=np.int64), len(new), len(new) - len(chosen), usual)

    def of_changed(self, today: Log, window: Window) -> Crowd:
        """Of those that are judged, the ones that an early evaluation of the window judges."""
        if window.changed is None:
            return self
        names = pl.Series("name", today.names["principal"].values, dtype=pl.String).gather(self.judged)
        judged = changed_names(names, window)
        if None in window.changed:  # events without a name
            judged |= names.str.starts_with(UNKNOWN)
        return replace(self, judged=self.judged[judged.to_numpy()])

    def scores(self, detector: str, today: Log) -> Iterator[Score]:
        """The flood itself: more new principals than usual, and those that were not judged."""
        subject = Subject("detector", detector)
        addresses = int((np.bincount(today.codes["address"] + 1)[1:] > 0).sum()) if len(today) else 0
        evidence: dict[str, Json] = {"addresses": addresses, "judged": len(self.judged), "left": self.left}
        if self.new > USUAL:
            usual = max(self.usual, float(USUAL))
            words = f"{self.new:,} principals that were never seen before; about {self.usual:.0f} are usual"
            score = not_judged(subject, "new principals", words, self.new, usual, evidence)
            yield changed(subject, score.aspect, words, score.value, score.evidence)
        if self.left:
            words = f"{self.left:,} of {self.new:,} principals that were never seen before"
            yield not_judged(subject, "more principals", words, self.left, evidence=evidence)


def _usual(past: Log, period: float) -> float:
    """The 95 % quantile of the number of new principals in the past's later half, by window."""
    if not len(past):
        return 0.0
    window = np.floor(past.time / period).astype(np.int64)
    first = np.unique(past.codes["principal"], return_index=True)[1]
    begin = window[first] - window[0]
    numbers = counted(begin, int(window[-1] - window[0]) + 1)
    return float(np.quantile(numbers[len(numbers) // 2 :], 0.95))


def spellings(today: Log) -> dict[str, list[str]]:
    """The principals of a window that have several spellings: by the one with most accesses, all of them."""
    codes = np.unique(today.codes["principal"])
    rows = counted(today.codes["principal"], len(today.pools), today.count.astype(np.float64))
    names = pl.Series("name", today.names["principal"].values, dtype=pl.String).gather(codes)
    frame = pl.DataFrame({"name": names, "form": pooled(names), "rows": rows[codes]})
    frame = frame.filter(pl.len().over("form") > 1).sort("rows", "name", descending=[True, False])
    groups = frame.group_by("form", maintain_order=True).agg("name")
    return {names[0]: names for names in groups["name"].to_list()}


def new_spellings(past: Log, today: Log) -> Iterator[Score]:
    """A principal that was never seen before and has the name of a known one, in another spelling."""
    values = today.names["principal"].values
    before = np.unique(past.codes["principal"])
    new = np.setdiff1d(today.codes["principal"], before)
    if not len(new) or not len(before):
        return
    known, fresh = (
        pl.DataFrame({"name": names, "form": pooled(names)})
        for names in (
            pl.Series([values[c] for c in codes.tolist()], dtype=pl.String) for codes in (before, new)
        )
    )
    owners: Mapping[str, str] = dict(known.sort("name", descending=True).select("form", "name").iter_rows())
    for name, form in fresh.sort("name").iter_rows():
        if form in owners and not name.startswith(UNKNOWN):
            disguised = is_disguised(name)
            words = f"{short(name)} is a new spelling of the known principal {short(owners[form])}"
            value = DISGUISED if disguised else SPELLED
            evidence: dict[str, Json] = {"known": owners[form], "disguised": disguised}
            yield changed(Subject("principal", name), "spelling", words, value, evidence)
