"""model_extraction: what it sees, what it leaves alone, and what it does with odd input."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.generators.queries import START, calls
from tocsin.contract.findings import Score, Severity
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.errors import BaselineError
from tocsin.stats.geometry import Placed, Reference
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors import _screened_queries, model_extraction
from tocsin_detectors._honest_queries import HonestQueries

VALUES, CONFIDENCE, SCORE = "tocsin.features.values", "tocsin.output.confidence", "tocsin.output.score"
MONTH = timedelta(days=28)


@pytest.fixture(scope="module")
def month() -> pl.DataFrame:
    # two of its four weeks are enough here
    return calls(14, 14, batch=100)


@pytest.fixture(scope="module")
def baseline(month: pl.DataFrame) -> Baseline:
    found = judged(calls(28, 1, batch=100), month)
    assert found.baseline is not None
    return found.baseline


def judged(events: pl.DataFrame, baseline: Baseline | pl.DataFrame, **settings: int) -> Evaluation:
    known = {"inference": baseline} if isinstance(baseline, pl.DataFrame) else baseline
    return evaluate("model_extraction", {"inference": events}, settings, known)


def asked(rows: np.ndarray, user: str = "someone") -> pl.DataFrame:
    """A day of one principal's queries, as the generator's model would answer."""
    template = calls(28, 1).head(len(rows))
    constant = [c for c in template.columns if c not in ("@timestamp", "user.id", "event.id", VALUES)]
    day = pl.DataFrame(
        {
            "@timestamp": [START + MONTH + timedelta(seconds=20 * i) for i in range(len(rows))],
            "user.id": [user] * len(rows),
            "event.id": [f"{user}-{i}" for i in range(len(rows))],
            VALUES: pl.Series(rows.tolist(), dtype=pl.List(pl.Float64)),
        }
    )
    day = day.with_columns(pl.lit(template[0, c], template.schema[c]).alias(c) for c in constant)
    return day.select(template.columns)


def vectors(frame: pl.DataFrame, user: str) -> np.ndarray:
    return np.array(frame.filter(pl.col("user.id") == user)[VALUES].to_list())


def score_of(found: Evaluation, user: str) -> float:
    return float(found.scores.filter(pl.col("subject.id") == user)["score"].item())


def test_an_attack_is_high_and_says_why(baseline: Baseline) -> None:
    found = judged(calls(28, 1, copied=100, batch=100), baseline)
    (finding,) = found.findings
    assert finding.subject == ("principal", "thief")
    assert finding.severity.rank >= Severity.HIGH.rank
    assert "credit" in finding.reason
    assert finding.evidence["model"] == "credit"
    assert finding.evidence["statistics"]
    sample = finding.evidence["sample"]
    assert isinstance(sample, list)
    assert sample[0].keys() == {f"f{i}" for i in range(8)}


def test_everyone_is_judged_in_a_stable_order(baseline: Baseline) -> None:
    found = judged(calls(28, 1, batch=100), baseline)
    assert found.scores["subject.id"].to_list() == [*(f"client-{i}" for i in range(10)), "nightly"]
    assert not found.findings


def test_few_queries_are_not_judged_and_repeated_ones_have_no_geometry(baseline: Baseline) -> None:
    rows = vectors(calls(28, 1), "client-1")
    found = judged(
        pl.concat([asked(rows[:19], "few"), asked(np.repeat(rows[:1], 500, axis=0), "load")]), baseline
    )
    assert found.scores["subject.id"].to_list() == ["load"]
    assert score_of(found, "load") == 0
    assert "load sent 1 distinct query to credit: too few to judge" in found.scores["reason"][0]


def test_retries_change_nothing(baseline: Baseline) -> None:
    rows = vectors(calls(28, 1, copied=100), "thief")
    once, thrice = judged(asked(rows), baseline), judged(asked(np.repeat(rows, 3, axis=0)), baseline)
    assert score_of(once, "someone") == score_of(thrice, "someone")


def test_a_long_stream_has_no_more_chances_than_a_short_one(baseline: Baseline) -> None:
    found = judged(calls(28, 1, batch=3000), baseline)
    assert score_of(found, "nightly") < found.scores["threshold"][0]


def test_a_burst_in_a_long_stream_is_seen(baseline: Baseline) -> None:
    rows = vectors(calls(28, 1, batch=1500), "nightly")
    rows[600:900] = vectors(calls(28, 1, copied=300), "thief")
    assert judged(asked(rows), baseline).findings


def early(rows: np.ndarray, baseline: Baseline, first: int = 0) -> list[tuple[str, float]]:
    """The scores of an early evaluation of one principal's queries, which arrive in order from row `first` on."""
    detector = model_extraction.ModelExtraction(model_extraction.Params())
    day = START + MONTH
    events = asked(rows)
    arrived = events["@timestamp"].to_list()
    ingested = pl.Series("event.ingested", arrived[len(rows) - first :] + arrived[: len(rows) - first])
    source = FrameSource.of({"inference": events.with_columns(ingested)})
    window = Window(day, day + timedelta(days=1), source, baseline, changed=frozenset({"someone"}))
    return [(score.subject.id, score.value) for score in detector.score(window)]


@pytest.mark.parametrize("before", [0, 300, 2000])
def test_an_early_evaluation_judges_all_queries_if_the_newest_are_unusual(
    baseline: Baseline, before: int
) -> None:
    honest = vectors(calls(28, 1, batch=2200), "nightly")[:before]
    rows = np.concatenate([honest, vectors(calls(28, 1, copied=200), "thief")])
    [(user, score)] = early(rows, baseline)
    assert user == "someone"
    assert score == score_of(judged(asked(rows), baseline), "someone")


def test_an_early_evaluation_judges_principals_who_began_at_different_times(baseline: Baseline) -> None:
    rows = np.concatenate(
        [vectors(calls(28, 1, batch=400), "nightly"), vectors(calls(28, 1, copied=200), "thief")]
    )
    one, other = asked(rows), asked(vectors(calls(28, 1, batch=700), "nightly"))
    other = other.with_columns(
        pl.lit("another").alias("user.id"),
        pl.col("@timestamp") - timedelta(hours=2),
        ("other-" + pl.col("event.id")).alias("event.id"),
    )
    both = pl.concat([one, other]).with_columns(pl.col("@timestamp").alias("event.ingested"))
    source = FrameSource.of({"inference": both})
    day, names = START + MONTH - timedelta(days=1), frozenset({"someone", "another"})
    window = Window(day, day + timedelta(days=2), source, baseline, changed=names)
    detector = model_extraction.ModelExtraction(model_extraction.Params())
    [score] = detector.score(window)
    assert score.subject.id == "someone"
    assert score.value == score_of(judged(one, baseline), "someone")


def test_backdated_queries_are_new_when_they_arrive(baseline: Baseline) -> None:
    honest = vectors(calls(28, 1, batch=3000), "nightly")
    rows = np.concatenate([vectors(calls(28, 1, copied=200), "thief"), honest])
    assert early(rows, baseline) == []
    [(user, _)] = early(rows, baseline, first=200)
    assert user == "someone"


def test_an_early_evaluation_of_usual_queries_judges_the_newest_alone(
    baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[int] = []
    place = Reference.place

    def counted(self: Reference, rows: np.ndarray, owners: list[str]) -> Placed:
        placed.append(len(rows))
        return place(self, rows, owners)

    monkeypatch.setattr(Reference, "place", counted)
    assert early(vectors(calls(28, 1, batch=3000), "nightly"), baseline) == []
    assert 0 < sum(placed) < 400


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows are screened as large ones are."""
    monkeypatch.setattr(_screened_queries, "_WHOLE", 0)


@pytest.mark.usefixtures("screened")
@pytest.mark.parametrize("begin", [0, 700, 1200])
def test_a_copy_among_many_honest_queries_is_judged_whole(baseline: Baseline, begin: int) -> None:
    rows = vectors(calls(28, 1, batch=1500), "nightly")
    rows[begin : begin + 300] = vectors(calls(28, 1, copied=300), "thief")
    found = judged(asked(rows), baseline)
    assert [f.subject.id for f in found.findings] == ["someone"]


@pytest.mark.usefixtures("screened")
def test_of_honest_principals_four_blocks_are_compared(baseline: Baseline) -> None:
    (score,) = scored(asked(vectors(calls(28, 1, batch=1500), "nightly")), baseline)
    assert score.subject.id == "someone"
    assert score.value < 5.2
    assert 100 <= score.evidence["compared"] <= 200  # type: ignore[operator]
    assert score.evidence["distinct queries"] == 1500


@pytest.mark.usefixtures("screened")
def test_queries_that_differ_by_less_than_32_bits_show_are_judged_whole(baseline: Baseline) -> None:
    rows = np.repeat(vectors(calls(28, 1, batch=30), "nightly"), 20, axis=0)
    rows[:, 5] += 1e-10 * np.arange(len(rows))
    (score,) = scored(asked(rows), baseline)
    assert "compared" not in score.evidence


@pytest.mark.usefixtures("screened")
def test_a_principal_with_other_vectors_too_is_judged_whole(baseline: Baseline) -> None:
    rows = asked(vectors(calls(28, 1, batch=600), "nightly"))
    empty = rows.head(1).with_columns(pl.lit([7.0], pl.List(pl.Float64)).alias(VALUES))
    both = pl.concat([rows, empty.with_columns(pl.lit("other").alias("event.id"))])
    (score,) = scored(both, baseline)
    assert "compared" not in score.evidence


def lacking(frame: pl.DataFrame) -> pl.DataFrame:
    """The same calls, of which a tenth lack the third value."""
    rows = np.array(frame[VALUES].to_list())
    rows[np.random.default_rng(len(rows)).random(len(rows)) < 0.1, 2] = np.nan
    return frame.with_columns(pl.Series(VALUES, rows.tolist(), dtype=pl.List(pl.Float64)))


@pytest.mark.usefixtures("screened")
def test_honest_principals_whose_queries_lack_values_are_cleared(month: pl.DataFrame) -> None:
    known = judged(calls(28, 1, batch=100), lacking(month)).baseline
    assert known is not None
    (score,) = scored(lacking(asked(vectors(calls(28, 1, batch=1500), "nightly"))), known)
    assert score.value < 5.2
    assert 100 <= score.evidence["compared"] <= 200  # type: ignore[operator]


def scored(events: pl.DataFrame, baseline: Baseline) -> list[Score]:
    detector = model_extraction.ModelExtraction(model_extraction.Params())
    day, source = START + MONTH, FrameSource.of({"inference": events})
    return [s for s in detector.score(Window(day, day + timedelta(days=1), source, baseline)) if not s.aspect]


def test_all_principals_may_be_attackers(baseline: Baseline) -> None:
    rows = vectors(calls(28, 1, copied=500), "thief")
    days = [asked(part, f"thief-{i}") for i, part in enumerate(np.split(rows, 5))]
    assert len(judged(pl.concat(days), baseline).findings) == 5


def test_scale_does_not_matter(month: pl.DataFrame) -> None:
    def scaled(frame: pl.DataFrame) -> pl.DataFrame:
        rows = np.array(frame[VALUES].to_list()) * np.array([1e9, 1e-9, 1, 1, 1, 1e6, 1, 1])
        return frame.with_columns(pl.Series(VALUES, rows.tolist()))

    events = calls(28, 1, copied=100, batch=100)
    assert {f.subject.id for f in judged(scaled(events), scaled(month)).findings} == {"thief"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.drop(CONFIDENCE, SCORE, "tocsin.output.label"),
        lambda frame: frame.drop("tocsin.features.names"),
        lambda frame: frame.with_columns(pl.col(VALUES).list.eval(pl.element().replace(2.0, float("nan")))),
        lambda frame: frame.with_columns(pl.col(VALUES).list.concat([float("nan"), 7.0])),
    ],
    ids=["no answers", "no names", "missing values", "an empty and a constant feature"],
)
def test_what_is_missing_is_left_out(
    spoil: Callable[[pl.DataFrame], pl.DataFrame], month: pl.DataFrame
) -> None:
    found = judged(spoil(calls(28, 1, copied=100, batch=100)), spoil(month))
    assert {f.subject.id for f in found.findings} == {"thief"}


def test_a_probability_stands_in_for_confidence(month: pl.DataFrame, baseline: Baseline) -> None:
    found = judged(calls(28, 1, batch=100), month.drop(CONFIDENCE)).baseline
    assert found is not None
    assert found.frames["models"]["doubt"].to_list() == baseline.frames["models"]["doubt"].to_list()


def test_vectors_that_fit_no_shape_and_unknown_models_are_reported_as_not_judged(baseline: Baseline) -> None:
    rows = vectors(calls(28, 1, copied=50), "thief")
    longer = asked(np.hstack([rows, rows]), "longer")
    other = asked(rows, "other").with_columns(pl.lit("other").alias("tocsin.model.name"))
    bare = asked(rows, "bare").with_columns(pl.lit(None, pl.List(pl.Float64)).alias(VALUES))
    found = judged(pl.concat([longer, other, bare]), baseline)
    assert {(f.subject.id, f.aspect, f.severity.value) for f in found.findings} == {
        ("longer", "features of credit", "medium"),
        ("other", "no baseline", "medium"),
        ("bare", "no features for credit", "medium"),
    }
    assert all(f.reason.startswith("not judged: ") for f in found.findings)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("user", ["thief", None, "(no principal)"])
def test_queries_without_most_of_their_values_are_not_judged(
    baseline: Baseline, value: float | None, kept: int, user: str | None
) -> None:
    attack = vectors(calls(28, 1, copied=200), "thief")
    rows = [[x if place < kept else value for place, x in enumerate(row)] for row in attack.tolist()]
    empty = asked(attack).with_columns(
        pl.Series(VALUES, rows, dtype=pl.List(pl.Float64)), pl.lit(user, pl.String).alias("user.id")
    )
    bare = asked(attack[:50], "(no principal)").with_columns(pl.lit(None, pl.List(pl.Float64)).alias(VALUES))
    found = judged(pl.concat([empty, bare.with_columns(pl.col("event.id") + "-bare")]), baseline).findings
    (finding,) = [f for f in found if f.aspect == "features of credit"]
    assert finding.severity.rank >= Severity.MEDIUM.rank
    assert finding.subject.id == (user or "(no principal)")


@pytest.mark.parametrize("column", ["user.id", "tocsin.model.name"])
@pytest.mark.parametrize("detector", ["model_extraction", "query_budget"])
def test_queries_spread_over_made_up_names_are_reported(
    month: pl.DataFrame, baseline: Baseline, detector: str, column: str
) -> None:
    attack = asked(vectors(calls(28, 1, copied=200), "thief"), "thief")
    spread = attack.with_columns(pl.Series(column, [f"n{i}" for i in range(len(attack))]))
    events = {"inference": pl.concat([month, calls(28, 1, batch=100), spread])}
    known = baseline if detector == "model_extraction" else None
    (found,) = [
        f for f in evaluate(detector, events, baseline=known).findings if f.aspect == "few calls each"
    ]
    assert (found.subject, found.severity) == (("detector", detector), Severity.HIGH)
    assert found.evidence["count"] == len(attack)
    assert not evaluate(detector, {"inference": events["inference"].head(-200)}, baseline=known).findings


def test_many_new_names_every_day_are_usual(month: pl.DataFrame, baseline: Baseline) -> None:
    days = [
        asked(vectors(calls(28, 1, copied=50), "thief")[:50], "x").with_columns(
            pl.Series("user.id", [f"retail-{day}-{i}" for i in range(50)]),
            pl.Series("event.id", [f"retail-{day}-{i}" for i in range(50)]),
            pl.col("@timestamp") - timedelta(days=day),
        )
        for day in range(14)
    ]
    found = judged(pl.concat([month, calls(28, 1, batch=100), *days]), baseline).findings
    assert {f.window_start for f in found if f.aspect == "few calls each"} == {START + timedelta(days=15)}


@pytest.mark.parametrize("width", [0, 9])
def test_one_principal_does_not_keep_a_model_out_of_the_baseline(month: pl.DataFrame, width: int) -> None:
    flood = asked(np.arange(6000.0 * max(width, 1)).reshape(6000, -1), "flooder").with_columns(
        pl.col("@timestamp") - timedelta(days=5)
    )
    if not width:
        flood = flood.with_columns(
            pl.lit([], pl.List(pl.Float64)).alias(VALUES), pl.lit("empty").alias("tocsin.model.name")
        )
    found = judged(calls(28, 1, copied=100, batch=100), pl.concat([month, flood]))
    assert "thief" in {f.subject.id for f in found.findings if not f.aspect}


NAMES = "tocsin.features.names"


def test_a_copy_is_found_whatever_the_form_of_its_queries(baseline: Baseline) -> None:
    attack = asked(vectors(calls(28, 1, copied=100), "thief"), "thief")
    names = (attack[NAMES][0] or "").split(",")
    (control,) = judged(attack, baseline).findings
    forms = {
        "reversed": attack.with_columns(
            pl.lit(",".join(reversed(names))).alias(NAMES), pl.col(VALUES).list.reverse()
        ),
        "unnamed": attack.with_columns(pl.lit(None, pl.String).alias(NAMES)),
        "renamed": attack.with_columns(pl.lit(",".join(f"q{k}" for k in range(len(names)))).alias(NAMES)),
        "too few names": attack.with_columns(pl.lit("a").alias(NAMES)),
        "spelled": attack.with_columns(pl.lit(",".join(f" {n.upper()}\u200b" for n in names)).alias(NAMES)),
        "padded": attack.with_columns(
            pl.lit(",".join(["pad", *names])).alias(NAMES), pl.concat_list(pl.lit(3.0), VALUES).alias(VALUES)
        ),
        "model spelled": attack.with_columns(pl.lit("Credit ").alias("tocsin.model.name")),
    }
    forms["alternating"] = pl.concat([attack[::2], forms["padded"][1::2]])
    for name, form in forms.items():
        found = [f for f in judged(form, baseline).findings if not f.aspect]
        assert [(f.subject.id, f.severity) for f in found] == [("thief", control.severity)], name
        assert found[0].score == pytest.approx(control.score), name


@pytest.mark.parametrize(
    "spellings",
    [
        ["thief", "Thief", "THIEF ", "thi\u200bef"],
        ["th\u0456ef", "thief"],  # a Cyrillic letter
        [f"thief{chr(0x200B) * k}" for k in range(100)],
        [None],
        [""],
    ],
)
def test_queries_are_pooled_over_the_spellings_of_a_name(
    spellings: list[str | None], baseline: Baseline
) -> None:
    attack = asked(vectors(calls(28, 1, copied=100), "thief"), "thief")
    turn = pl.Series([spellings[k % len(spellings)] for k in range(len(attack))], dtype=pl.String)
    (control,) = judged(attack, baseline).findings
    found = [f for f in judged(attack.with_columns(turn.alias("user.id")), baseline).findings if not f.aspect]
    assert [f.severity for f in found] == [control.severity]
    assert found[0].score == pytest.approx(control.score)


def test_a_new_spelling_does_not_inherit_the_history_of_a_client(baseline: Baseline) -> None:
    known = next(HonestQueries.read(baseline))[1]
    owners = {
        owner for of_size in known.honest.norms.values() for norm in of_size.values() for owner in norm.own
    }
    assert all(owner == owner.strip() for owner in owners)
    rows = asked(vectors(calls(28, 1, copied=100), "thief"), "client-1\u200b")
    (finding,) = [f for f in judged(rows, baseline).findings if not f.aspect]
    assert finding.subject.id == "client-1\u200b"


def test_a_principal_is_judged_once_by_its_worst_model(month: pl.DataFrame) -> None:
    second = month.with_columns(pl.lit("second").alias("tocsin.model.name"), pl.col("event.id") + "s")
    known = judged(calls(28, 1, batch=100), pl.concat([month, second])).baseline
    assert known is not None
    honest = asked(vectors(calls(28, 1), "client-1"))
    attack = asked(vectors(calls(28, 1, copied=100), "thief")).with_columns(
        pl.lit("second").alias("tocsin.model.name"), pl.col("event.id") + "s"
    )
    (finding,) = judged(pl.concat([honest, attack]), known).findings
    assert finding.evidence["model"] == "second"


def test_a_client_that_always_was_unlike_the_others_stays_quiet(month: pl.DataFrame) -> None:
    odd = [
        asked(40 + vectors(calls(day, 1), "client-1"), "odd").with_columns(
            pl.col("@timestamp") + timedelta(days=day - 28), pl.col("event.id") + f"-{day}"
        )
        for day in range(14, 29)
    ]
    found = judged(pl.concat([odd[14], calls(28, 1, copied=100)]), pl.concat([month, *odd[:14]]))
    assert {f.subject.id for f in found.findings} == {"thief"}


def test_too_few_principals_are_no_baseline(month: pl.DataFrame) -> None:
    alone = month.filter(pl.col("user.id") == "nightly")
    with pytest.raises(BaselineError, match="too little history"):
        judged(calls(28, 1, batch=100), alone)


def test_the_baseline_is_bounded(baseline: Baseline, month: pl.DataFrame) -> None:
    assert len(baseline.frames["reference"]) == 2000
    small = judged(calls(28, 1, batch=100), month, reference_rows=100).baseline
    assert small is not None
    assert len(small.frames["reference"]) == 100


def test_real_attacks_on_a_real_model(
    shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scorecard in small: every attack of the bars, pure and half diluted, and honest newcomers."""
    shared_data("credit_default_uci")
    from benchmarks.attacks.extraction import ATTACKS
    from benchmarks.card import credit
    from benchmarks.scorecards import extraction

    monkeypatch.setattr(extraction, "WINDOWS", 2)
    trial = extraction.Trial(credit(), "default-payment-next-month", 7)
    for name in extraction.BARRED:
        ratios = trial.attacked(ATTACKS[name])
        assert ratios[1.0].min() >= 2, name
        assert ratios[0.5].min() >= 1, name
    for kind in extraction.HONEST:
        assert np.median(trial.honest(kind)) < 0.5, kind


def test_very_many_principals_are_judged_in_part_and_counted(
    baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_extraction, "_MOST_JUDGED", 5)
    attack = asked(vectors(calls(28, 1, copied=100), "thief"), "thief")
    found = judged(pl.concat([calls(28, 1), attack.select(calls(28, 1).columns)]), baseline)
    assert {(f.subject.id, f.aspect) for f in found.findings} >= {
        ("thief", ""),
        ("model_extraction", "more principals"),
    }
    (more,) = [f for f in found.findings if f.aspect == "more principals"]
    assert more.reason == "not judged: 6 more principals with at least 20 queries"
