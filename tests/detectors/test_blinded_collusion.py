"""collusion: what accounts of one thief send, or call themselves, does not make it judge less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from benchmarks.blinding import cohorts
from benchmarks.blinding.attempts import ID, NAMES, TIME, USER, VALUES
from tocsin.contract.findings import Finding
from tocsin.testing import evaluate

Form = Callable[[pl.DataFrame], pl.DataFrame]
PLACE = pl.int_range(pl.len())
MONTH = cohorts.calls(0, cohorts.DAY)
OTHERS = cohorts.calls(cohorts.DAY, 1)


def attack() -> pl.DataFrame:
    today = cohorts.calls(cohorts.DAY, 1, cohorts.ACCOUNTS, cohorts.EACH)
    return today.filter(pl.col(USER).str.starts_with("sybil"))


def findings(*events: pl.DataFrame, detector: str = "collusion") -> list[Finding]:
    told = pl.concat([OTHERS, *events]).with_columns(pl.format("e{}", PLACE).alias(ID))
    return evaluate(detector, {"inference": told}, baseline={"inference": MONTH}).findings


def values(value: float | None) -> Form:
    return lambda f: f.with_columns(pl.lit([value] * 8, pl.List(pl.Float64)).alias(VALUES))


def in_names(frame: pl.DataFrame) -> pl.DataFrame:
    """All values are 1; the names of the features contain the real ones."""
    names = [",".join(f"f{k}={x}" for k, x in enumerate(v)) for v in frame[VALUES].to_list()]
    return values(1.0)(frame).with_columns(pl.Series(NAMES, names))


QUERIES: dict[str, Form] = {
    "missing": values(None),
    "not a number": values(float("nan")),
    "infinite": values(float("inf")),
    "mostly missing": lambda f: f.with_columns(pl.lit([1.0, None, None]).alias(VALUES)),
    "in the names": in_names,
}


@pytest.mark.parametrize("form", QUERIES.values(), ids=QUERIES)
def test_queries_without_plain_values_are_different_ones(form: Form) -> None:
    assert findings(form(attack()))[0].severity.value == "critical"


@pytest.mark.parametrize("form", QUERIES.values(), ids=QUERIES)
def test_query_budget_counts_them_too(form: Form) -> None:
    one = form(attack()).with_columns(pl.lit("thief").alias(USER))
    assert [f.severity.value for f in findings(one, detector="query_budget")] == ["critical"]


@pytest.mark.parametrize("accounts", ["", "other-"], ids=["the same", "others"])
def test_repeated_queries_are_no_past(accounts: str) -> None:
    """Neither of the accounts themselves nor of the largest group a week earlier."""
    names = (pl.lit(accounts) + pl.col(USER)).alias(USER)
    repeated = values(1.0)(attack()).with_columns(names, pl.col(TIME) - pl.duration(days=9))
    found = findings(attack(), repeated)
    assert [f.severity.value for f in found if f.subject.id == "address 192.0.2.9"] == ["critical"]


@pytest.mark.parametrize("share", [2, 4])
def test_calls_without_a_name_count(share: int) -> None:
    """The others have an account each."""
    name = pl.when(PLACE % share > 0).then(pl.format("a{}", PLACE))
    assert findings(attack().with_columns(name.alias(USER)))[0].severity.value == "critical"


@pytest.mark.parametrize("name", [None, "", "\u200b", " "])
def test_calls_of_nobody_are_a_finding_of_their_own(name: str | None) -> None:
    (found,) = findings(attack().with_columns(pl.lit(name, pl.String).alias(USER)))
    assert (found.aspect, found.severity.value) == ("no principal", "high")
    assert found.reason == "not judged: 2,000 queries without a principal in 7 days"


def test_usual_calls_without_a_name_are_quiet() -> None:
    """A program without a name, which calls more often on the day than before."""
    nobody = MONTH.with_columns(pl.lit(None, pl.String).alias(USER))
    more = pl.concat([OTHERS] * 3).with_columns(
        pl.lit(None, pl.String).alias(USER), pl.format("e{}", PLACE).alias(ID)
    )
    assert evaluate("collusion", {"inference": more}, baseline={"inference": nobody}).findings == []


@pytest.mark.parametrize(
    "form",
    ["client-{}\u200b", "client-{}\u0301", "\u0441lient-{}", "\uff43lient-{}"],
    ids=["zero width", "combining", "look-alike", "full width"],
)
def test_a_double_does_not_inherit_a_past(form: str) -> None:
    """Eight doubles of clients that are away send what the clients themselves could send."""
    busy = [MONTH.with_columns(pl.col(TIME) + pl.duration(minutes=k)) for k in range(5)]
    month = pl.concat(busy).with_columns(pl.format("m{}", PLACE).alias(ID))
    doubles = attack().with_columns(pl.format(form, PLACE % 8).alias(USER)).head(1600)
    weeks = pl.concat([OTHERS.filter(pl.col(USER) == "client-0"), doubles])
    (found, *_) = evaluate("collusion", {"inference": weeks}, baseline={"inference": month}).findings
    assert found.severity.value == "critical"


@pytest.mark.parametrize("form", [str.upper, " {} ".format], ids=["capitals", "spaces"])
def test_names_that_a_program_spells_in_another_way_are_quiet(form: Callable[[str], str]) -> None:
    busy = [MONTH.with_columns(pl.col(TIME) + pl.duration(minutes=k)) for k in range(5)]
    month = pl.concat(busy).with_columns(pl.format("m{}", PLACE).alias(ID))
    today = pl.concat([OTHERS.with_columns(pl.col(TIME) + pl.duration(minutes=k)) for k in range(5)])
    names = pl.Series(USER, [form(user) for user in today[USER]])
    told = today.with_columns(names, pl.format("e{}", PLACE).alias(ID))
    assert evaluate("collusion", {"inference": told}, baseline={"inference": month}).findings == []


def test_a_louder_group_does_not_hide_its_company() -> None:
    """Three accounts send far more behind another address, and as much as all others together behind theirs."""
    loud = next(a for a in cohorts.attempts() if "three louder" in a.name)
    named: list[Any] = [f.evidence["names"] for f in findings(loud.change(attack()))]
    assert ["loud-0", "loud-1", "loud-2"] in map(sorted, named)
    assert any(name.startswith("a") for names in named for name in names)


def test_quiet_weeks_are_quiet() -> None:
    assert findings(cohorts.calls(cohorts.DAY + 1, 7)) == []
