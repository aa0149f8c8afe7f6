"""registry_access on cloud logs: attack techniques with and without a history, and quiet days of a new installation.

Attacks: each file of stratus_detonation is one technique; the user agent, which names the tool, is removed. A technique
is found if its day has a finding of any severity. Baselines: none; strangers' (a scripted account of eight weeks, without
the users of the file); own (the same account with the file's users among its people), also with the attack from the
user's own address. `cloudtrail_invictus` is a day of a real red team: the share of pairs of an attacking principal and
another one in which the attacker ranks first.

Quiet: four weeks of the scripted account, and of the tests' registries, without a baseline, with a baseline of ten days
(shortened), and with a whole baseline.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from benchmarks.attacks.cloud_account import START, Account, frame
from benchmarks.card import SHARED, Row, shared
from tests.generators.accesses import quiet
from tests.generators.mlflow_sessions import work
from tocsin.config import discovery, params
from tocsin.contract.evaluation import Judgement, fit, judge
from tocsin.contract.findings import Severity
from tocsin.contract.plugin import Detector
from tocsin.contract.short import capped, is_short, widened
from tocsin.contract.windows import Baseline, FrameSource, Window

DAY = timedelta(days=1)
WEEKS = 56  # days of a whole baseline
SHORT = 10
QUIET = 28
#: Principals of the red team's day that attack nobody: an owner who looks at the console, and AWS's services.
_BENIGN = r"user/benjamin$|amazonaws\.com|^IAMUser$"


def detector() -> Detector[Any]:
    """The detector with its default settings."""
    plugin = discovery.discover().get(Detector, "registry_access")  # type: ignore[type-abstract]
    return plugin(params.build(plugin.params_type(), {}))


def fitted(past: pl.DataFrame, end: datetime) -> Baseline:
    """The baseline over rows that end at `end`, with the threshold of its length."""
    used = detector()
    start = past["@timestamp"].min()
    assert isinstance(start, datetime)
    found = fit(used, Window(start, end, FrameSource.of({"access": past})), 0.01)
    return widened(found, used.requires, end - start)


def judged(
    day: datetime, rows: pl.DataFrame, baseline: Baseline | None, past: pl.DataFrame
) -> list[Judgement]:
    """The judgements of a day; a shortened baseline and the rules alone, as `tocsin.pipeline` does."""
    window = Window(
        day, day + DAY, FrameSource.of({"access": rows}), baseline, FrameSource.of({"access": past})
    )
    return list(judge(detector(), window))


def technique(name: str, day: datetime) -> pl.DataFrame:
    """The events of a technique, on this day."""
    content = json.loads((SHARED / "stratus_detonation" / "logs" / name).read_text())
    rows = frame(content if isinstance(content, list) else content["Records"])
    first = rows["@timestamp"].min()
    assert isinstance(first, datetime)
    return rows.with_columns(pl.col("@timestamp") + (day - first.replace(hour=0, minute=0, second=0)))


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of registry_access on cloud logs. Attacks are real and do not depend on a seed."""
    attacks = [*_techniques(), *_red_team()] if 0 in seeds else []
    return [*attacks, *_quiet(seeds)]


def _techniques() -> Iterator[Row]:
    end = START + WEEKS * DAY
    day = end + DAY
    strangers = frame(Account(1).days(WEEKS))
    theirs = fitted(strangers, end)
    found: dict[str, list[bool]] = {}
    for path in sorted((SHARED / "stratus_detonation" / "logs").glob("*.json")):
        rows = technique(path.name, day)
        users = [user for user in rows["user.id"].unique().sort() if ":user/" in user]
        past = frame(Account(1, also=users).days(WEEKS))
        own = fitted(past, end)
        home = pl.when(pl.col("user.id").is_in(users)).then(pl.lit("198.51.100.15")).otherwise("source.ip")
        cases = {
            "no baseline": (rows, None, past.clear()),
            "strangers' baseline": (rows, theirs, strangers),
            "own history": (rows, own, past),
            "own history, own address": (rows.with_columns(home.alias("source.ip")), own, past),
        }
        for case, (attack, baseline, before) in cases.items():
            alarms = [j.finding for j in judged(day, attack, baseline, before)]
            found.setdefault(case, []).append(any(alarms))
    for case, hits in found.items():
        bar = 0.5 if case == "no baseline" else 0.8
        name = f"cloud techniques, {case}"
        yield Row(
            "registry_access", "stratus_detonation", name, "found", float(np.mean(hits)), len(hits), bar
        )


def _red_team() -> Iterator[Row]:
    records: list[dict[str, Any]] = []
    for path in sorted((SHARED / "cloudtrail_invictus" / "CloudTrail").glob("*.json")):
        records += json.loads(path.read_text())["Records"]
    end = START + WEEKS * DAY
    day = end + DAY
    rows = frame(records).with_columns(pl.col("@timestamp") + (day - datetime(2023, 7, 10, tzinfo=UTC)))
    strangers = frame(Account(1).days(WEEKS))
    for case, baseline in (("no baseline", None), ("strangers' baseline", fitted(strangers, end))):
        scores = {
            j.score.subject.id: j.score.value
            for j in judged(day, rows, baseline, strangers)
            if not j.score.aspect
        }
        names = pl.Series(list(scores))
        others = names.filter(names.str.contains(_BENIGN)).to_list()
        pairs = [
            (value > scores[other]) + 0.5 * (value == scores[other])
            for name, value in scores.items()
            for other in others
            if name not in others
        ]
        what = f"red team: attackers above the others, {case}"
        yield Row(
            "registry_access",
            "cloudtrail_invictus",
            what,
            "share of pairs",
            float(np.mean(pairs)),
            len(pairs),
        )


def _quiet(seeds: Sequence[int]) -> Iterator[Row]:
    sources = {
        "cloud account": lambda seed, days, first: frame(Account(seed).days(days, first)),
        "registry": quiet,
        "MLflow": work,
    }
    for name, make in sources.items():
        for case, length in (("no baseline", 0), ("10 days", SHORT), ("56 days", WEEKS)):
            found: list[float] = []
            for seed in seeds:
                past, rest = make(seed + 1, length or 1, 0), make(seed + 11, QUIET, length or 1)
                end = START + (length or 1) * DAY
                baseline = fitted(past, end) if length else None
                found += [_rank(judged) for judged in _days(rest, past, baseline, end, length)]
            of = "registry_access", name, f"quiet principal-days, {case}"
            yield shared(of, "FPR", found, quiet=True)
            yield shared(of, "FPR at high", found, least=Severity.HIGH.rank + 1, quiet=True)


def _rank(judgement: Judgement) -> float:
    """0 without a finding, else one more than the rank of its severity."""
    return 0.0 if judgement.finding is None else judgement.finding.severity.rank + 1.0


def _days(
    rest: pl.DataFrame, past: pl.DataFrame, baseline: Baseline | None, end: datetime, length: int
) -> Iterator[Judgement]:
    requires, history = detector().requires, timedelta(days=length)
    before = pl.concat([past, rest], how="diagonal_relaxed")
    for number in range(QUIET):
        day = end + number * DAY
        rows = rest.filter(pl.col("@timestamp") >= day, pl.col("@timestamp") < day + DAY)
        worst: dict[str, Judgement] = {}
        short = baseline is not None and is_short(requires, history)
        for used in (baseline, None) if short else (baseline,):
            for found in judged(day, rows, used, before):
                one = capped(found, requires, history) if used is not None and short else found
                known = worst.get(one.score.subject.id)
                if known is None or (one.finding and not known.finding):
                    worst[one.score.subject.id] = one
        yield from worst.values()
