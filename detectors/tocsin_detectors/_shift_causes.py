"""Why the calls of a model changed: an attack, a change of the pipeline, the calendar, drift, or none of these.

Earlier windows are read only for a finding: at most 18 of them, and 1,000 of the calls of each. A verdict never changes
a score. What a caller controls is its own calls: a change that concentrates in a few callers or one address is
therefore never called a calendar or a change of the pipeline, whatever was deployed, and whenever it recurs.
"""

from __future__ import annotations

import calendar
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.findings import Json, Score
from tocsin.contract.streams import TIME
from tocsin.contract.verdict import Clue, Explanation, Verdict, explained
from tocsin.contract.windows import Window
from tocsin.stats.label_change import Level, step_or_ramp
from tocsin.stats.onset import onset
from tocsin.words import LONGEST, count, sentence, short
from tocsin_detectors import _callers as callers
from tocsin_detectors import _deployments as deployments
from tocsin_detectors._callers import VALUE
from tocsin_detectors._kept import KeptFrames
from tocsin_detectors._model_rows import VERSION
from tocsin_detectors._seasons import WHOLE, has

#: How far back earlier windows are read.
HISTORY = "100d"
#: Columns that `read` returns beside `VALUE`.
CALLS = (callers.USER, callers.KEY, callers.ADDRESS, VERSION)
COLUMNS = (TIME, *CALLS)
_RECENT = 8  # windows directly before the window
EARLIER_ROWS = 1_000  # of an earlier window
_LEAST = 30
_HIGH, _LOW = 0.4, 0.3  # levels, in units of the window's change
_SCATTER = 0.1  # of the levels of quiet windows, beside their standard error
_CLEAR = 3.0  # standard errors
_WEEKS, _MONTHS = 4, 3
_SETTLED, _FIRST = (
    14,
    5,
)  # windows after which a change is settled, and those with which later ones are compared
_SAME = (0.7, 1.4)  # their levels
_TOLD = 2  # windows after which a sentence says for how long a change has lasted


class Shift(NamedTuple):
    """A change of the calls of a model: of its inputs, its answers, or what is known of their errors (`what`).

    `read` returns at most so many calls of a window in the order of time, with `COLUMNS`. `values` adds a number `VALUE`
    to them that is higher the more a call looks like what changed. `usual` is the mean of `VALUE` in the baseline. Only
    windows of the same `season` are read.
    """

    what: str
    model: str
    usual: float
    read: Callable[[Window, int], pl.DataFrame]
    values: Callable[[pl.DataFrame], pl.DataFrame]
    kept: KeptFrames  # calls of earlier windows
    season: str = WHOLE


class _Earlier(NamedTuple):
    start: datetime
    level: Level
    rows: pl.DataFrame

    @property
    def high(self) -> bool:
        return self.level.share > max(_HIGH, _CLEAR * self.level.error)


def with_cause(score: Score, cause: Cause) -> Score:
    """The score with a verdict: in the sentence behind the name of the subject, and in the evidence."""
    name, told = short(score.subject.id), cause.explanation
    rest = score.reason.removeprefix(name).lstrip()
    reason = sentence(f"{name}: {told.lead}: {rest}".split("; "))
    if cause.same >= _TOLD and told.verdict in (Verdict.UNEXPLAINED, Verdict.DRIFT):
        like = f"for {cause.same + 1} windows, like rows in another order or group"
        longer = sentence(f"{name}: {told.lead}, {like}: {rest}".split("; "))
        reason = longer if len(longer) <= LONGEST else reason
    return replace(score, reason=reason, evidence={**score.evidence, **told.to_dict()})


def since_settled(before: Score, since: Score, settled: Sequence[Window]) -> Score:
    """The score of a window since a settled change, with the score against the baseline in the evidence."""
    facts: dict[str, Json] = {
        "settled": [format_time(one.start) for one in settled],
        "baseline.score": before.value,
        "baseline.reason": before.reason,
    }
    name = short(since.subject.id)
    rest = since.reason.removeprefix(name)
    told = f"{name}, against the calls since {settled[0].start:%Y-%m-%d}{rest if rest[:1] == ':' else ':' + rest}"
    reason = sentence(told.split("; "))
    kept = reason if len(reason) <= LONGEST else since.reason
    return replace(since, reason=kept, evidence={**since.evidence, **facts})


class Cause(NamedTuple):
    """The verdict on a change, the number of windows directly before with the same change, and the settled windows.

    The windows since which it is settled are in the order of time; there are none if it is not settled.
    """

    explanation: Explanation
    same: int = 0
    settled: tuple[Window, ...] = ()


def explain(window: Window, shift: Shift, most: int) -> Cause:
    """The verdict on a finding about a window, of which at most so many calls are read.

    A change is settled once all windows that are read of the `_SETTLED` before have about its level, if it began at once,
    and unless the verdict is an attack. Later windows are compared with the oldest of them that are read: a slow change
    adds up against these, and one that grows is not settled.
    """
    now = _finite(shift.values(shift.read(window, most)))
    if len(now) < _LEAST:
        return Cause(explained([]))
    change = _mean(now) - shift.usual
    if change <= _CLEAR * _error(now):
        return Cause(explained([]))
    found = [_level(window, shift, span, change) for span in spans(window, shift.season)]
    earlier = {one.start: one for one in found if one is not None}
    recent = [earlier[s] for s in _recent(window, shift.season) if s in earlier]
    quiet = [one.rows for one in earlier.values() if one.level.share < _LOW]
    before = pl.concat(quiet) if quiet else now.clear()
    began = _onset(window, now, recent, shift.usual)
    versions = _new_versions(now, before)
    senders = list(callers.clues(now, before, shift.usual))
    explanation = explained(
        [
            *senders,
            *_times(window, earlier, recent, alike=any(clue.words.endswith("alike") for clue in senders)),
            *(deployments.clues(window, began, shift.model, versions=versions) if began else ()),
        ]
    )
    same = _same(list(earlier.values()))
    near = len({one.start for one in same} & set(_recent(window, shift.season)))
    sudden = _began_at_once(list(earlier.values()), same)
    lasted = bool(same) and same[0].start <= window.start - _SETTLED * window.length
    if not lasted or not sudden or explanation.verdict is Verdict.ATTACK:
        return Cause(explanation, near)
    source = window.past or window.source
    first = (Window(one.start, one.start + window.length, source) for one in same[:_FIRST])
    return Cause(explanation, near, tuple(first))


def _same(earlier: Sequence[_Earlier]) -> list[_Earlier]:
    """The last windows with about the level of this one, without a gap, oldest first."""
    same: list[_Earlier] = []
    for one in reversed(earlier):
        if not _SAME[0] <= one.level.share <= _SAME[1]:
            break
        same.insert(0, one)
    return same


def _began_at_once(earlier: Sequence[_Earlier], same: Sequence[_Earlier]) -> bool:
    """Whether the windows before the same ones had nothing of the change, but for one in which it may have begun."""
    before = [one.level.share for one in earlier[: len(earlier) - len(same)]]
    return not before or min(before[-2:]) < _LOW


def _finite(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col(VALUE).is_finite())


def _mean(rows: pl.DataFrame) -> float:
    return float(np.mean(rows[VALUE].to_numpy()))


def _error(rows: pl.DataFrame) -> float:
    return float(np.std(rows[VALUE].to_numpy())) / float(np.sqrt(len(rows)))


def _level(window: Window, shift: Shift, span: Window, change: float) -> _Earlier | None:
    """The change in an earlier window, in units of the window's change; None with too few calls."""
    calls = shift.kept.of(
        window, (shift.what, shift.model, span.start), lambda: shift.read(span, EARLIER_ROWS)
    )
    rows = _finite(shift.values(calls))
    if len(rows) < _LEAST:
        return None
    error = float(np.hypot(_error(rows) / change, _SCATTER))
    return _Earlier(span.start, Level((_mean(rows) - shift.usual) / change, error), rows)


def _recent(window: Window, season: str) -> list[datetime]:
    """The windows of a season directly before the window, oldest first."""
    before = (window.start - k * window.length for k in range(1, 7 * _RECENT))
    return sorted(itertools.islice((start for start in before if has(season, start)), _RECENT))


def spans(window: Window, season: str = WHOLE) -> list[Window]:
    """The earlier windows of a season that are read, oldest first."""
    cycles = {start for starts in _cycles(window).values() for start in starts if has(season, start)}
    source = window.past or window.source
    starts = sorted({*_recent(window, season), *cycles})
    return [Window(start, start + window.length, source) for start in starts]


def _cycles(window: Window) -> dict[str, list[datetime]]:
    """Earlier windows at the same place of the day, week and month (from its start, and from its end)."""
    found: dict[str, list[datetime]] = {}
    start, length = window.start, window.length
    if length <= timedelta(hours=12):
        found["day"] = [start - timedelta(days=k) for k in range(1, _WEEKS + 1)]
    if length <= timedelta(days=3):
        found["week"] = [start - timedelta(days=7 * k) for k in range(1, _WEEKS + 1)]
    if length <= timedelta(days=10):
        left = calendar.monthrange(start.year, start.month)[1] - start.day
        firsts = [_month(start, back) for back in range(1, _MONTHS + 1)]
        days = [calendar.monthrange(first.year, first.month)[1] for first in firsts]
        pairs = list(zip(firsts, days, strict=True))
        found["month"] = [first.replace(day=min(start.day, most)) for first, most in pairs]
        found["end of the month"] = [first.replace(day=max(most - left, 1)) for first, most in pairs]
    return found


def _month(start: datetime, back: int) -> datetime:
    """The first day of an earlier month, at the same time of the day."""
    months = start.year * 12 + start.month - 1 - back
    return start.replace(year=months // 12, month=months % 12 + 1, day=1)


def _times(
    window: Window, earlier: dict[datetime, _Earlier], recent: Sequence[_Earlier], *, alike: bool
) -> Iterator[Clue]:
    """Since when the calls differ, and whether they did at the same place of the week or of the month.

    One caller can come back every week. So the calendar explains a change only if the callers changed alike.
    """
    if len(recent) < 2:
        return
    lead, number = min(_growth(window, some) for some in (recent, list(earlier.values())))
    if lead < -1:
        yield Clue(Verdict.DRIFT, min(-lead, 3.0), f"the change grew over {count(number, 'earlier window')}")
    elif not any(one.high for one in recent):
        yield Clue(Verdict.DRIFT, -1.5, f"sudden: none of it in {count(len(recent), 'window')} before")
    for cycle, starts in _cycles(window).items():
        on = [earlier[start] for start in starts if start in earlier]
        off = [one for one in recent if one.start not in starts]
        if (
            len(on) >= 2
            and all(one.high for one in on)
            and off
            and 2 * sum(one.high for one in off) <= len(off)
        ):
            words = f"the same {count(len(on), 'time')} before, at this place of the {cycle}"
            yield Clue(Verdict.CALENDAR, 4.0 if alike else 1.5, words)
            yield Clue(Verdict.ATTACK, -1.0, words)
            return


def _growth(window: Window, earlier: Sequence[_Earlier]) -> tuple[float, int]:
    """The lead of a sudden change over a steady growth, 0 if most levels are low; and the number of levels."""
    levels = [one.level for one in earlier]
    grown = [one for one in levels if one.share > 1.5 * one.error]
    if 2 * len(grown) <= len(levels):
        return 0.0, len(levels)
    times = [(one.start - window.start) / window.length for one in earlier]
    return step_or_ramp([*levels, Level(1.0, _SCATTER)], [*times, 0.0]), len(levels)


def _onset(
    window: Window, now: pl.DataFrame, recent: Sequence[_Earlier], usual: float
) -> deployments.Onset | None:
    """When the change began: in the first of the changed windows that end with this one. None: not seen."""
    changed = now
    for one in reversed(recent):
        if not one.high:
            break
        changed = one.rows
    else:
        if recent:
            return None
    times = changed[TIME].to_list()
    found = onset(changed[VALUE].to_numpy(), usual)
    first = times[found.first - 1] if found.first else min(window.start, times[0])
    return deployments.Onset(first, times[found.last])


def _new_versions(now: pl.DataFrame, before: pl.DataFrame) -> list[str]:
    """Versions that answer now and did not before; none if nothing is known of before."""
    if before.is_empty():
        return []
    return sorted(set(now[VERSION].drop_nulls().unique()) - set(before[VERSION].drop_nulls().unique()))
