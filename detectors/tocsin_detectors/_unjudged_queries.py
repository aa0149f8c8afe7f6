"""Queries that `model_extraction` cannot compare with its baseline, as aspects of a principal or model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import polars as pl

from tocsin.contract.aspects import not_judged
from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.windows import Window
from tocsin.words import count, short
from tocsin_detectors._honest_queries import KNOWN, MODEL, NAMES, SPELLING, STREAM, USER, VALUES
from tocsin_detectors._schema_changes import no_baseline
from tocsin_detectors._spelling import NOBODY, canonical, pooled

#: The time before a window that shows how many calls without features are usual.
USUAL = timedelta(days=7)
_PAIRS = 20


def commonest(spellings: pl.Series) -> str:
    """The spelling of a principal's name that most of its calls have."""
    counts = spellings.value_counts().sort("count", SPELLING, descending=[True, False], nulls_last=True)
    return counts[SPELLING][0] or NOBODY


def earliest(spellings: pl.Series) -> str:
    """The first spelling of a principal's name, of spellings in the order of their calls. More calls do not change it."""
    known = spellings.drop_nulls()
    return str(known[0] or NOBODY) if len(known) else NOBODY


def unaligned(
    rest: pl.DataFrame, calls: pl.DataFrame, model: str, share: float, least: int
) -> Iterator[Score]:
    """The principals with at least `least` queries whose vectors have a shape unlike the model's baseline.

    Args:
        rest: the calls that cannot be aligned.
        calls: all distinct calls of the window.
        model: the model's name.
        share: share of calls that cannot be aligned in the baseline.
        least: fewer queries of a principal are not reported.
    """
    many = rest.filter(pl.len().over(USER) >= least)
    sent = dict(
        calls.filter(pl.col(USER).is_in(many[USER].unique().implode())).group_by(USER).len().iter_rows()
    )
    for (user,), rows in many.group_by([USER], maintain_order=True):
        who = commonest(rows[SPELLING])
        queries = count(len(rows), "query", "queries")
        reason = f"{short(who)} sent {queries} to {short(model)} with other features than its baseline has"
        facts: dict[str, Json] = {
            "model": model,
            "features": rows[NAMES].drop_nulls().unique().sort().head(3).to_list(),
            "lengths": rows[VALUES].list.len().unique().sort().head(10).to_list(),
        }
        subject = Subject("principal", who)
        yield not_judged(subject, f"features of {model}", reason, len(rows), share * sent[user], facts)


def unknown_models(calls: pl.DataFrame, models: Sequence[str]) -> Iterator[Score]:
    """The models that the baseline does not have. `of` is the canonical form of a call's model name."""
    others = calls.filter(~pl.col("of").is_in([canonical(model) for model in models]))
    for model, queries, users in (
        others.group_by(MODEL).agg(pl.len(), pl.col(USER).n_unique().alias("users")).sort(MODEL).iter_rows()
    ):
        received = f"{count(queries, 'distinct query', 'distinct queries')} of {count(users, 'principal')}"
        yield no_baseline(model, f"received {received}")


def scattered(window: Window, detector: str, least: int) -> Iterator[Score]:
    """New principals and models with fewer than `least` calls each: queries could be spread over made-up names.

    Counted are pairs of principal and model that the time before does not have, if there are at least `_PAIRS` of them.
    """
    day = window.before(window.length)
    before = _pairs(day.before(USUAL - window.length))
    new = _pairs(window).join(pl.concat([before, _pairs(day)]), on=["pool", "of"], how="anti")
    new = new.filter(pl.col("count") < least)
    if len(new) < _PAIRS:
        return
    usual = len(_pairs(day).join(before, on=["pool", "of"], how="anti").filter(pl.col("count") < least))
    names, models = new["pool"].n_unique(), new["of"].n_unique()
    who = (
        f"{count(names, 'new name')} and {count(models, 'model')}" if models > 1 else count(names, "new name")
    )
    reason = f"{count(int(new['count'].sum()), 'call')} of {who} with fewer than {least} calls each"
    facts: dict[str, Json] = {"names": new["pool"].sort().unique().head(10).to_list()}
    yield not_judged(Subject("detector", detector), "few calls each", reason, len(new), float(usual), facts)


def _pairs(window: Window) -> pl.DataFrame:
    """Number of calls by canonical principal (`pool`) and model (`of`)."""
    counts = window.summary(STREAM, [USER, MODEL], [COUNT], [Condition(MODEL, "not_null")])
    pairs = counts.with_columns(pool=pooled(counts[USER]), of=pooled(counts[MODEL]))
    return pairs.group_by("pool", "of").agg(pl.col("count").sum())


def without_features(
    window: Window, with_them: pl.DataFrame, models: Sequence[str], least: int
) -> Iterator[Score]:
    """The principals with at least `least` calls of known models that carry no feature vector.

    `with_them` is the number of the window's calls with features by principal and model.
    """
    now = _without_features(window, with_them, models).filter(pl.col("count") >= least)
    if now.is_empty():
        return
    earlier = window.before(USUAL)
    known = earlier.summary(STREAM, [USER, MODEL], [COUNT], KNOWN)
    before = _without_features(earlier, known, models).select(
        "pool", "of", usual=pl.col("count") * (window.length / USUAL)
    )
    now = now.join(before, on=["pool", "of"], how="left").with_columns(pl.col("usual").fill_null(0.0))
    for who, model, calls, usual in now.select("who", MODEL, "count", "usual").sort("who", MODEL).iter_rows():
        reason = f"{short(who)} made {count(calls, 'call')} to {short(model)} without features"
        yield not_judged(Subject("principal", who), f"no features for {model}", reason, calls, usual)


def _without_features(window: Window, with_them: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """Number of calls without features by canonical principal (`pool`) and model (`of`), with one spelling of both."""
    every = window.summary(STREAM, [USER, MODEL], [COUNT], [Condition(MODEL, "not_null")])
    counts = every.join(with_them, on=[USER, MODEL], how="left", nulls_equal=True, suffix="_with")
    counts = counts.with_columns(
        pl.col("count") - pl.col("count_with").fill_null(0),
        pool=pooled(counts[USER]),
        of=pooled(counts[MODEL]),
    )
    known = counts.filter(pl.col("of").is_in([canonical(model) for model in models]), pl.col("count") > 0)
    return (
        known.sort("count", USER, MODEL, descending=[True, False, False], nulls_last=True)
        .group_by("pool", "of", maintain_order=True)
        .agg(
            pl.col("count").sum(), pl.col(USER).first().fill_null(NOBODY).alias("who"), pl.col(MODEL).first()
        )
    )
