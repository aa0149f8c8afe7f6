"""Why the labels of a snapshot changed: an attack, drift, a change of the pipeline, or the calendar.

Earlier snapshots are read only for a finding: at most 16 of them, so the cost of a window without findings does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tocsin import Condition, SnapshotError, Window
from tocsin.contract.streams import TIME
from tocsin.contract.verdict import Clue, Explanation, Verdict, explained
from tocsin.stats.label_change import Level, flips_or_shift, step_or_ramp
from tocsin.stats.reference import Reference, Sign
from tocsin.words import count, short
from tocsin_detectors import _label_rows as label_rows
from tocsin_detectors._dataset_aspects import sampled
from tocsin_detectors._deployments import Onset
from tocsin_detectors._deployments import clues as deployments
from tocsin_detectors._label_rows import Batch
from tocsin_detectors._snapshots import LABEL, Snapshot, read

HISTORY = "60d"
_LAST, _OLDER = 8, 8  # earlier snapshots that are read: the last ones, and some of those before
_ROWS = 1_000  # of an earlier snapshot
_CLEAR, _QUIET = 3.0, 2.0  # standard errors from which a level is not 0, and up to which it may be
_CYCLES = (timedelta(days=7), timedelta(days=28), timedelta(days=30), timedelta(days=31))
_PART = 0.4  # a group of a larger share of the rows is no strong clue
_MOST = 3.0  # the largest weight of one clue
_COLUMNS = [TIME, "tocsin.dataset.digest", "user.id", "tocsin.dataset.label"]


class _Earlier(NamedTuple):
    time: datetime
    writer: str | None
    level: Level


def explain(
    window: Window, name: str, facts: Mapping[str, Any], reference: Reference, batch: Batch, worst: Sign
) -> Explanation:
    """The verdict on a finding about the new rows of a snapshot."""
    clues = [*_forms(batch, worst)]
    if worst.facts["test"] in ("flips", "flips in a group"):
        encoded, codes = reference.encoder.encode(batch.rows), reference.codes(batch.rows[LABEL])
        clues += _shapes(reference, encoded, codes, worst, schema=bool(batch.missing))
        now = reference.level(encoded, codes, worst)
        times = window.rows("dataset", _COLUMNS, [Condition("tocsin.dataset.name", "==", name)])
        mine = times.filter(pl.col("tocsin.dataset.digest") == batch.snapshot.digest)[TIME]
        at = mine[0] if len(mine) else window.start
        earlier = list(_earlier(window, name, facts, reference, worst))
        clues += _times(at, now, earlier)
        clues += _writers(batch.snapshot.writer, earlier)
        began = Onset(earlier[-1].time, at) if earlier and not _high(earlier[-1].level) else None
        if began is not None:
            clues += _deployed(window, began, batch.snapshot.digest, clues)
    return explained(clues)


def _forms(batch: Batch, worst: Sign) -> Iterator[Clue]:
    """What the rows themselves say."""
    test = worst.facts["test"]
    if test == "combination":
        weight, words = (3.0, "values that no trusted row has") if worst.planted else (1.5, "unusual values")
        yield Clue(Verdict.ATTACK, weight, f"{count(len(worst.rows), 'row')} share {words}")
        yield Clue(Verdict.DRIFT, -1.0, "few rows")
    if batch.missing:
        yield Clue(Verdict.PIPELINE_CHANGE, 1.0, f"the schema changed: {short(batch.missing[0])} is missing")
    if test == "unseen labels":
        every = len(worst.rows) > len(batch.rows) / 2
        yield Clue(Verdict.PIPELINE_CHANGE, 2.5 if every else 1.0, "labels are spelled in a new way")


def _shapes(
    reference: Reference,
    encoded: np.ndarray[Any, Any],
    codes: np.ndarray[Any, Any],
    worst: Sign,
    *,
    schema: bool,
) -> Iterator[Clue]:
    """Whether the rows of one group changed, and whether as by flips or as by a shift of the relation."""
    if worst.facts["test"] == "flips in a group":
        inside, outside = (reference.level(encoded, codes, worst, inside=part) for part in (True, False))
        if outside.share < _QUIET * outside.error and inside.share > _CLEAR * outside.error:
            few = worst.facts["rows_in_group"] < _PART * len(codes)
            where = f"{short(worst.facts['column'], 24)} {short(str(worst.facts['value']), 24)}"
            yield Clue(Verdict.ATTACK, 2.5 if few else 0.5, f"only the rows with {where} changed")
    p, seen = reference.probabilities(encoded), codes >= 0
    ordered = [place for place, texts in enumerate(reference.encoder.texts.values()) if texts is None]
    group = reference.groups.hot(encoded)[worst.group] > 0 if worst.group >= 0 else None
    lead = flips_or_shift(
        p[seen],
        codes[seen],
        reference.nulls.flips,
        worst.hypothesis,
        encoded[seen][:, ordered],
        None if group is None else group[seen],
    )
    if lead > 1:
        weight = min(lead / 3, 2.0)
        yield Clue(Verdict.ATTACK, weight, "labels changed whatever their rows are like, as flips do")
    elif lead < -1:
        weight = min(-lead / 3, 2.0)
        yield Clue(Verdict.DRIFT, weight, "the relation of labels and rows moved, rather than single labels")
        if (
            schema
        ):  # the writer of the rows chooses their schema: it alone must not make an attack look harmless
            yield Clue(Verdict.PIPELINE_CHANGE, 1.5 * weight, "the relation moved with the schema")


def _times(at: datetime, now: Level, earlier: Sequence[_Earlier]) -> Iterator[Clue]:
    """Since when the labels differ, and whether they did a week or a month ago."""
    if len(earlier) < 2:
        return
    recent = earlier[-_LAST:]
    changed = [one for one in recent if _high(one.level)]
    lead = step_or_ramp([*(one.level for one in earlier), now])
    weight = min(abs(lead), _MOST)
    if lead < -1 and _mean(recent) > _QUIET:
        yield Clue(Verdict.DRIFT, weight, f"the change grew over {count(len(earlier), 'earlier snapshot')}")
    elif not changed and _mean(recent) < _QUIET:
        words = f"sudden: none of it in {count(len(recent), 'earlier snapshot')}"
        yield Clue(Verdict.ATTACK, 1.5, words)
        yield Clue(Verdict.DRIFT, -1.5, words)
    elif lead > 1:
        yield Clue(Verdict.ATTACK, weight / 2, "it began at once")
        yield Clue(Verdict.DRIFT, -weight / 2, "it began at once")
    yield from _cycles(at, now, earlier)


def _deployed(window: Window, began: Onset, digest: str, clues: Sequence[Clue]) -> Iterator[Clue]:
    """Whether a pipeline was deployed between the last snapshot without the change and this one.

    It explains a moved relation, but neither single labels nor the rows of one group or of one writer: whoever writes a
    snapshot could choose a day with a deployment.
    """
    one = any(clue.cause is Verdict.ATTACK and clue.words.startswith("only ") for clue in clues)
    moved = any(clue.cause is Verdict.DRIFT and clue.weight > 0 for clue in clues)
    for clue in deployments(window, began, outputs=[digest]):
        if clue.cause is not Verdict.PIPELINE_CHANGE:
            yield clue
        elif moved and not one:
            yield clue._replace(weight=2 * clue.weight)


def _high(level: Level) -> bool:
    return level.share > _CLEAR * level.error


def _mean(earlier: Sequence[_Earlier]) -> float:
    """The mean level of the snapshots, in standard errors."""
    weight = sum(1 / one.level.error**2 for one in earlier)
    return sum(one.level.share / one.level.error**2 for one in earlier) / float(np.sqrt(weight))


def _cycles(at: datetime, now: Level, earlier: Sequence[_Earlier]) -> Iterator[Clue]:
    """At least two earlier snapshots at whole weeks or months, as high as this one, and the others low."""
    for cycle in _CYCLES:
        on = [one for one in earlier if _whole(at - one.time, cycle)]
        off = [one for one in earlier if not _whole(at - one.time, cycle)]
        as_high = [one for one in on if one.level.share > max(_CLEAR * one.level.error, now.share / 2)]
        if len(on) == len(as_high) >= 2 and off and _mean(off) < _CLEAR:
            words = f"the same {count(len(on), 'time')} before, every {cycle.days} days"
            yield Clue(Verdict.CALENDAR, 4.0, words)
            yield Clue(Verdict.ATTACK, -1.0, words)
            return


def _whole(gap: timedelta, cycle: timedelta) -> bool:
    return abs(gap - round(gap / cycle) * cycle) < timedelta(hours=12) and gap > cycle / 2


def _writers(writer: str | None, earlier: Sequence[_Earlier]) -> Iterator[Clue]:
    """Whether the snapshots of other writers changed too."""
    own, others = (
        [one for one in earlier[-_LAST:] if (one.writer == writer) is same] for same in (True, False)
    )
    if earlier and not own and writer:
        yield Clue(Verdict.ATTACK, 1.0, f"{short(writer, 24)} wrote none of the earlier snapshots")
    elif own and len(others) > 1 and _mean(own) > _CLEAR and _mean(others) < _QUIET:
        yield Clue(Verdict.ATTACK, 2.0, f"only snapshots of {short(str(writer), 24)} changed")


def _earlier(
    window: Window, name: str, facts: Mapping[str, Any], reference: Reference, worst: Sign
) -> Iterator[_Earlier]:
    """The levels of earlier snapshots, oldest first: the last eight, and up to eight others."""
    past = window.before(HISTORY)
    rows = past.rows("dataset", _COLUMNS, [Condition("tocsin.dataset.name", "==", name)])
    events = list({row[1]: row for row in rows.iter_rows()}.values())
    for time, digest, writer, label in [*sampled(events[:-_LAST], _OLDER), *events[-_LAST:]]:
        try:
            found = read(window, Snapshot(digest, label or "", writer), facts["label"], _ROWS)
        except SnapshotError:
            continue
        if found is None:
            continue
        found = label_rows.aligned(
            found, list(reference.encoder.texts), reference.classes.categories.to_list()
        )
        if reference.encoder.missing(found) or len(found) < 30:
            continue
        encoded, codes = reference.encoder.encode(found), reference.codes(found[LABEL])
        new = ~reference.known(encoded, codes) & (codes >= 0)
        if new.sum() >= 30:
            yield _Earlier(time, writer, reference.level(encoded[new], codes[new], worst))
