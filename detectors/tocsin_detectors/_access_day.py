"""All that is known of a window with a baseline, and the story of each principal in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tocsin.stats.surprise import Floats
from tocsin_detectors._access_crowd import Crowd
from tocsin_detectors._access_customs import Customs
from tocsin_detectors._access_dangers import dangerous
from tocsin_detectors._access_habits import VOLUME, oddities
from tocsin_detectors._access_log import Log, Session
from tocsin_detectors._access_points import session_hits, weigh
from tocsin_detectors._access_prior import Prior, Vetted
from tocsin_detectors._access_rules import hits, recent_evaluations
from tocsin_detectors._access_serious import serious_hits
from tocsin_detectors._access_story import Story
from tocsin_detectors._access_touches import Touched

#: Weight of a principal with a hit or a serious action, in nats: it is judged before all others.
_FIRST = 1e9


@dataclass(frozen=True, eq=False, slots=True)
class Day:
    """A window beside its past."""

    touched: Touched
    prior: Prior
    vetted: Vetted
    broken: Mapping[str, pl.DataFrame]  # by principal: the rules over rows
    serious: Mapping[str, pl.DataFrame]  # by principal
    groups: Mapping[str, Sequence[str]]  # spellings
    sums: Mapping[str, Mapping[str, Any]]
    customs: Customs
    reserved: frozenset[str]  # services of AWS
    rules: Mapping[str, Any]
    habits: Mapping[str, Mapping[str, int]]

    def story(self, session: Session, most: int) -> Story:
        """What a principal did, with its `most` least usual accesses."""
        name, code = session.principal, int(session.today.codes["principal"][0])
        top, odd = self.touched.top(code, most), oddities(session, self.customs.rates)
        if name in self.reserved:
            top, odd = [], [sign for sign in odd if sign.name in VOLUME]
        found = session_hits(session, self.sums[name]["artifacts"], odd, self.rules["downloads"])
        if name in self.broken:
            found += weigh(self.broken[name], odd, self.habits.get(name, {}), self.rules["common"])
        if name in self.prior.rows or name in self.prior.refused:
            found += self.prior.hits(name, self.vetted.of(session))
        acts = serious_hits(session, self.serious[name], odd, self.customs) if name in self.serious else None
        rows = self.touched.rows(code)
        return Story(
            session,
            top,
            len(self.touched.nats[rows]),
            int(self.touched.fresh[rows].sum()),
            odd,
            [*(acts.hits if acts else ()), *found],
            acts,
            self.sums[name],
            self.groups.get(name, ()),
        )


def serious_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The serious actions, but not those of AWS's own services, nor AWS's actions that the table of dangers weighs."""
    rows = rows.filter(pl.col("serious").is_not_null(), ~pl.col("aws"))
    cloud = pl.col("provider").str.ends_with(".amazonaws.com").fill_null(value=False)
    weighed = dangerous(rows.filter(cloud).select("action", "provider").unique().iter_rows())
    return rows.filter(~(cloud & pl.col("action").is_in(weighed)))


def broken_rules(rows: pl.DataFrame, touched: Touched, past: Log, start: datetime) -> pl.DataFrame:
    """The rules over rows that principals broke in the window."""
    fresh = touched.frame()
    rows = rows.join(fresh, on=["principal", "resource"], how="left", maintain_order="left")
    rows = rows.with_columns(window=pl.lit(start))
    if rows["promote"].any():
        rows = pl.concat([recent_evaluations(past, start), rows], how="diagonal_relaxed")
    return hits(rows)


def by_principal(rows: pl.DataFrame, today: Log, crowd: Crowd) -> dict[str, pl.DataFrame]:
    """The rows of each principal that is judged."""
    names = pl.Series("principal", today.names["principal"].values, dtype=pl.String).gather(crowd.judged)
    rows = rows.join(names.to_frame(), on="principal", how="semi", maintain_order="left")
    parts = rows.partition_by("principal", as_dict=True, maintain_order=True)
    return {str(name): part for (name,), part in parts.items()}


def weight_of(touched: Touched, dangerous: Iterable[str], *first: pl.DataFrame) -> Floats:
    """By principal: what decides who is judged if there are too many new ones."""
    weight, codes = touched.totals(), touched.log.names["principal"].codes
    for names in (dangerous, *(rows["principal"].drop_nulls().unique().to_list() for rows in first)):
        weight[[codes[name] for name in names if name in codes]] += _FIRST
    return weight
