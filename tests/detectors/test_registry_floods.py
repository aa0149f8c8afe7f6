"""registry_access beside floods: the cost is bounded, the flood is a finding, and the intruder of the same day stays one."""

from __future__ import annotations

import functools
import tracemalloc
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.access_growth import DAY, INTRUDER, KINDS, START, flood, history, intrusion
from tests.detectors.test_registry_access import _detector, access, baseline, found, rules
from tests.generators.accesses import quiet, session
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.findings import Finding, Severity
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors._access_crowd import JUDGED
from tocsin_detectors._access_rows import FLOOD, ROWS, remembered

NIGHT = "2026-03-03T01:10:00+00:00"
SIZE = 3_000
_WEEK = timedelta(days=7)


@functools.cache
def learned() -> Baseline:
    return fit(_detector(), Window(START, DAY, FrameSource.of({"access": history()})), 0.01)


def judged(rows: pl.DataFrame, fitted: Baseline | None = None) -> dict[tuple[str, str], Finding]:
    window = Window(DAY, DAY + timedelta(days=1), FrameSource.of({"access": rows}), fitted or learned())
    made = [one.finding for one in judge(_detector(), window)]
    return {(f.subject.id, f.aspect): f for f in made if f}


def together(*parts: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(parts, how="diagonal_relaxed")


@functools.cache
def alone() -> Finding:
    return judged(intrusion())[INTRUDER, ""]


@pytest.mark.parametrize("kind", KINDS)
def test_the_intruder_is_found_as_without_the_flood_which_is_a_finding_too(kind: str) -> None:
    made = judged(together(intrusion(), flood(kind, SIZE)))
    assert made[INTRUDER, ""].severity == alone().severity
    assert made[INTRUDER, ""].score == pytest.approx(alone().score)
    others = [f for (subject, _), f in made.items() if subject != INTRUDER]
    assert max(f.severity.rank for f in others) >= Severity.MEDIUM.rank


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_over_the_flood_still_knows_what_is_usual(kind: str) -> None:
    source = FrameSource.of({"access": together(history(), flood(kind, SIZE))})
    fitted = fit(_detector(), Window(START, DAY + timedelta(days=1), source), 0.01)
    later = intrusion().with_columns(pl.col("@timestamp") + _WEEK)
    window = Window(DAY + _WEEK, DAY + _WEEK + timedelta(days=1), FrameSource.of({"access": later}), fitted)
    made = {one.finding.subject.id: one.finding for one in judge(_detector(), window) if one.finding}
    assert made[INTRUDER].severity.rank >= Severity.HIGH.rank


@pytest.mark.parametrize("kind", ["resources", "both", "grants", "addresses"])
def test_memory_grows_with_rows_and_not_with_their_square(kind: str) -> None:
    peaks = []
    for size in (2_000, 16_000):
        learned()
        rows = flood(kind, size)
        tracemalloc.start()
        judged(rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 12 * peaks[0]


def test_too_many_new_principals_are_counted_and_those_with_serious_actions_come_first() -> None:
    last = flood("deletions", 1).with_columns(pl.lit("zz-last").alias("user.id"))
    made = judged(together(flood("both", 2 * JUDGED), last))
    assert made["zz-last", ""].severity.rank >= Severity.HIGH.rank
    left = made["registry_access", "more principals"]
    assert left.evidence["count"] == JUDGED + 1
    assert left.reason.startswith("not judged: ")
    assert made["registry_access", "new principals"].evidence["count"] == 2 * JUDGED + 1


def test_a_quiet_day_has_no_flood() -> None:
    rows = quiet(4, first=57, days=1)
    window = Window(
        DAY_OF_QUIET, DAY_OF_QUIET + timedelta(days=1), FrameSource.of({"access": rows}), baseline()
    )
    assert [one.score.aspect for one in judge(_detector(), window) if one.score.aspect] == []


DAY_OF_QUIET = START + timedelta(days=57)


def _compact(principal: str, resources: int, day: int, hour: int = 3) -> pl.DataFrame:
    time = START + timedelta(days=day, hours=hour)
    names = pl.int_range(resources, eager=True).cast(pl.String)
    return pl.DataFrame({"resource": "r" + names}).with_columns(
        time=pl.lit(time), principal=pl.lit(principal)
    )


def test_what_a_baseline_remembers() -> None:
    honest = pl.concat([_compact(f"p{i}", 5, day) for i in range(4) for day in range(90)])
    scans = pl.concat([_compact("scanner", 3 * FLOOD, day) for day in (1, 2, 3)])
    rows = pl.concat([honest, _compact("flooder", 5 * FLOOD, 80), scans]).sort("time")
    kept = remembered(rows)
    number = dict(kept["principal"].value_counts().iter_rows())
    assert (number["flooder"], number["scanner"]) == (FLOOD, 9 * FLOOD)
    assert all(number[f"p{i}"] == 450 for i in range(4))
    assert len(remembered(_compact("flooder", 5 * FLOOD, 80), scanners=["flooder"])) == 5 * FLOOD
    once = pl.concat([_compact(f"sybil{i}", 1, 80) for i in range(2 * FLOOD)])
    assert remembered(pl.concat([honest, once]).sort("time")).height == honest.height + FLOOD
    known = [f"sybil{i}" for i in range(2 * FLOOD)]
    assert remembered(once, known).height == 2 * FLOOD
    assert remembered(honest).equals(honest)


def test_more_rows_than_a_baseline_stores() -> None:
    many = pl.concat([_compact("scanner", 80_000, day) for day in range(4)])
    honest = pl.concat([_compact("p1", 5, day, 5) for day in range(4)])
    kept = remembered(pl.concat([many, honest]).sort("time"))
    assert len(kept) <= ROWS
    assert kept.filter(pl.col("principal") == "p1").height == honest.height


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.integers(1, 400),
    field=st.sampled_from(
        [
            "user.id",
            "event.action",
            "source.ip",
            "user_agent.original",
            "tocsin.resource.id",
            "tocsin.principal.type",
        ]
    ),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    outcome=st.sampled_from(["success", "failure"]),
)
def test_whatever_others_write_the_intruder_is_found(size: int, field: str, text: str, outcome: str) -> None:
    """For any text in any field of any number of other principals' events, the intruder's score is unchanged."""
    values: Any = "other " + text + pl.int_range(size, eager=True).cast(pl.String)
    rows = flood("resources", size).with_columns(values.alias(field), pl.lit(outcome).alias("event.outcome"))
    made = judged(together(intrusion(), rows))[INTRUDER, ""]
    assert made.score == pytest.approx(alone().score)


SPELLINGS = ("Ana", "ana ", "ANA", "an\u200ba", "\u0430n\u0430", "\uff41na", "ana\u00a0")


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_new_spelling_of_a_known_principal_is_a_finding_and_inherits_no_history(name: str) -> None:
    rows = session("ana", NIGHT, 1).with_columns(pl.lit(name).alias("user.id"))
    window = Window(*_day(), FrameSource.of({"access": rows}), baseline())
    made = {(one.score.subject.id, one.score.aspect): one for one in judge(_detector(), window)}
    spelled = made[name, "spelling"].finding
    assert spelled is not None and "known principal ana" in spelled.reason
    listed = {rule["rule"] for rule in made[name, ""].score.evidence["rules"]}  # type: ignore[index, union-attr, call-overload]
    assert "first_seen_principal" in listed


def test_a_mass_download_under_many_spellings_is_one() -> None:
    parts = [
        session("ben", NIGHT, 40)[8 * i : 8 * i + 8].with_columns(pl.lit(name).alias("user.id"))
        for i, name in enumerate(("zoe", "Zoe", "ZOE", "zo\u200be", "z\u043ee"))
    ]
    made = found(pl.concat(parts))
    assert any("mass_download" in rules(finding) for finding in made.values())
    assert any(len(finding.evidence.get("spellings", [])) == 5 for finding in made.values())  # type: ignore[arg-type]


def test_other_names_are_no_spellings() -> None:
    rows = [access(0, name, "read", "credit-0") for name in ("anna", "an", "ana2", "p1", "pl")]
    window = Window(*_day(), FrameSource.of({"access": pl.DataFrame(rows)}), baseline())
    assert [one.score for one in judge(_detector(), window) if one.score.aspect] == []


def _day() -> tuple[Any, Any]:
    from tests.detectors.test_registry_access import TUESDAY

    return TUESDAY, TUESDAY + timedelta(days=1)
