"""Weekly seasons of a model's calls: whether two days of the week differ from the others, as a weekend does.

Without them, the calls of a weekend differ from a baseline of whole weeks, and the threshold is raised until they do not. A
change of a weekday that is as large as the weekend's is then not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.streams import TIME
from tocsin.contract.windows import Baseline
from tocsin_detectors._vectors import NAMES, VALUES

T = TypeVar("T")
Floats = NDArray[np.float64]

#: The season of a baseline that has one only: every day of the week.
WHOLE = ""
_WEEK = 7
#: Minimum number of days of each season, and of calls of a day.
_DAYS, _CALLS = 4, 30
#: Two days of the week differ if so small a probability says so, adjusted for the number of tests, and the mean rank of
#: some number differs by so much (ranks from 0 to 1): a smaller difference hardly changes a score.
_CHANCE, _DIFFERENCE = 1e-3, 0.03
_ROWS = 100_000  # calls that are compared


def parts(
    calls: pl.DataFrame, numbers: Floats, length: timedelta, least: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The calls of each season, with the season's name: its ISO weekdays, such as `6,7`.

    Args:
        calls: of a model, with `TIME`.
        numbers: what is compared, of shape (calls, columns); NaN where a call lacks it.
        length: of the detector's windows. If a window is longer than a day, there is one season.
        least: number of calls that a season needs.
    """
    pair = _pair(calls[TIME], numbers) if length <= timedelta(days=1) else None
    if pair is not None:
        inside = calls[TIME].dt.weekday().is_in(pair)
        if least <= inside.sum() <= len(calls) - least:
            others = [day for day in range(1, _WEEK + 1) if day not in pair]
            yield _name(pair), calls.filter(inside)
            yield _name(others), calls.filter(~inside)
            return
    yield WHOLE, calls


def at(known: Mapping[str, T], calls: pl.DataFrame) -> T:
    """What is known of the season of some calls: that of their median time."""
    return known[_season(known, calls)]


def has(season: str, time: datetime) -> bool:
    """Whether a time is in a season."""
    return season == WHOLE or str(time.isoweekday()) in season.split(",")


def within(known: Iterable[str], calls: pl.DataFrame) -> pl.DataFrame:
    """Of some calls, those in the season of their median time."""
    season = _season(known, calls)
    days = [int(day) for day in season.split(",") if day]
    return calls.filter(calls[TIME].dt.weekday().is_in(days)) if days else calls


def _season(known: Iterable[str], calls: pl.DataFrame) -> str:
    time, seasons = calls[TIME].median(), list(known)
    day = str(time.isoweekday()) if isinstance(time, datetime) else WHOLE
    return next((season for season in seasons if day in season.split(",")), seasons[0])


def by_model(baseline: Baseline | None, frame: str) -> dict[str, list[str]]:
    """The names of the seasons of each model, from a frame of a baseline; older baselines have none."""
    rows = baseline.frames[frame] if baseline else pl.DataFrame()
    if "season" not in rows.columns:
        return {}
    names = rows.group_by("model").agg(pl.col("season").unique().sort())
    return {str(model): [str(season) for season in found] for model, found in names.iter_rows()}


def feature_values(calls: pl.DataFrame) -> Floats:
    """The feature values of calls with the commonest names and number of features; NaN for the others."""
    shapes = calls.select(NAMES, width=pl.col(VALUES).list.len())
    commonest = shapes.group_by(NAMES, "width").len().sort("len", NAMES, "width").drop("len").tail(1)
    width = commonest["width"][0] or 0
    same = shapes.select(pl.struct(NAMES, "width").is_in(commonest.to_struct().implode())).to_series()
    same = same & (shapes["width"] == width) if width else pl.repeat(value=False, n=len(calls), eager=True)
    found = np.full((len(calls), width), np.nan)
    rows = calls[VALUES].filter(same)
    if len(rows):
        found[same.to_numpy()] = rows.explode().to_numpy().reshape(-1, width)
    return found


def _name(days: list[int]) -> str:
    return ",".join(map(str, sorted(days)))


def _pair(times: pl.Series, numbers: Floats) -> list[int] | None:
    """The two days of the week that differ most from the other ones, if they do; ISO weekdays.

    Days are compared, not calls: Welch's test of their mean ranks takes into account that quiet days differ.
    """
    from scipy.stats import rankdata, ttest_ind_from_stats

    if len(times) > _ROWS:
        kept = np.sort(np.random.default_rng(0).choice(len(times), _ROWS, replace=False))
        times, numbers = times[kept], numbers[kept]
    ranks = rankdata(np.nan_to_num(numbers, nan=-np.inf, posinf=-np.inf), axis=0) / max(len(numbers), 1)
    days, place, count = np.unique(times.dt.epoch("d").to_numpy(), return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(place, column) for column in ranks.T], axis=1) / count[:, None]
    means, weekday = means[count >= _CALLS], (days[count >= _CALLS] + 3) % _WEEK + 1
    found: list[tuple[float, list[int]]] = []
    for first in range(1, _WEEK + 1):
        pair = [first, first % _WEEK + 1]
        inside = np.isin(weekday, pair)
        one, other = means[inside], means[~inside]
        if min(len(one), len(other)) < _DAYS or not means.shape[1]:
            continue
        of = [(rows.mean(axis=0), rows.std(axis=0, ddof=1) + 1e-9, len(rows)) for rows in (one, other)]
        p = ttest_ind_from_stats(*of[0], *of[1], equal_var=False).pvalue
        large = np.abs(of[0][0] - of[1][0]) >= _DIFFERENCE
        found.append((float(np.min(p, where=large, initial=1.0)), pair))
    smallest, pair = min(found, default=(1.0, []))
    return pair if smallest * _WEEK * means.shape[1] <= _CHANCE else None
