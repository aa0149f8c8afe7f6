"""Labels in other spellings: counted under the known label, said as a finding of moderate severity."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.contract.findings import Finding, Severity
from tocsin.datasets.digest import digest_frame
from tocsin.testing.evaluate import evaluate
from tocsin_collectors._profile import label_counts, profile
from tocsin_detectors._label_spelling import main_spellings, merged, onto_known, spellings

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
START = MIDNIGHT + timedelta(hours=9)
QUICK = {"label_poisoning": {"trusted_rows": 2000, "chunks": 20}}
SPELLED: dict[str, Callable[[str], str]] = {
    "case": str.upper,
    "title": str.title,
    "zero width": lambda label: label[:1] + "\u200b" + label[1:],
    "space inside": lambda label: label[:1] + "\u00a0" + label[1:],
    "look-alike": lambda label: label.replace("o", "\u043e").replace("a", "\u0430"),
    "full width": lambda label: "".join(chr(ord(c) + 0xFEE0) for c in label),
}
SPELLINGS = st.sampled_from(sorted(SPELLED))
LABELS = st.text("abcdefgh", min_size=1, max_size=6)


@given(st.sets(LABELS, min_size=1), SPELLINGS, st.data())
def test_a_spelling_of_one_known_label_is_that_label(known: set[str], how: str, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(sorted(known)))
    new = SPELLED[how](label)
    assert onto_known([new], known) == ({} if new in known else {new: label})


@given(LABELS, st.sets(SPELLINGS, min_size=2))
def test_labels_of_one_form_that_both_are_classes_stay_apart(label: str, hows: set[str]) -> None:
    classes = sorted({SPELLED[how](label) for how in hows} | {label})
    past = [classes] * 5
    assert main_spellings(past) == {}
    assert spellings(past, [*classes, label + "\u2060"]) == (
        {} if len(classes) > 1 else {label + "\u2060": label}
    )


@given(st.lists(st.sets(LABELS, min_size=1), min_size=3, max_size=8), SPELLINGS)
def test_one_file_in_another_spelling_makes_no_class(past: list[set[str]], how: str) -> None:
    """Invariant: whoever writes one snapshot of many does not choose which labels are classes."""
    usual = [labels | {"good"} for labels in past]
    other = {SPELLED[how](label) for label in usual[0]}
    words = spellings([*usual, other], set())
    assert words.get(SPELLED[how]("good"), "good") == "good"
    assert "good" not in words


@given(
    st.dictionaries(st.text(max_size=4), st.integers(0, 99)),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4)),
)
def test_no_row_is_lost(counts: dict[str, int], words: dict[str, str]) -> None:
    assert sum(merged(counts, words).values()) == sum(counts.values())


def test_a_label_without_a_visible_character_is_no_spelling() -> None:
    assert onto_known(["\u200b", "\u3164"], ["", " ", "good"]) == {}
    assert onto_known(["1\u200b", "\uff11", "True\u200b", "1.0\u2060"], ["0", "1"]).keys() == {
        "1\u200b", "\uff11", "True\u200b", "1.0\u2060",
    }  # fmt: skip


def rows(
    day: int, spelled: Callable[[str], str] = str, flipped: float = 0.0, size: int = 400
) -> pl.DataFrame:
    random = np.random.default_rng(day)
    income = random.normal(2500, 600, size).round(2)
    good = random.random(size) < 1 / (1 + np.exp(-(income - 2500) / 150))
    good |= random.random(size) < flipped
    return pl.DataFrame({"income": income, "label": [spelled("good" if g else "bad") for g in good]})


def snapshots(days: list[pl.DataFrame]) -> tuple[pl.DataFrame, dict[str, pl.LazyFrame]]:
    """The events that the collector writes for these files, and their rows."""
    events: list[dict[str, Any]] = []
    for day, frame in enumerate(days):
        lazy = frame.lazy()
        event = {
            "@timestamp": START + timedelta(days=day), "event.id": f"s{day}", "tocsin.source.id": "files",
            "tocsin.dataset.name": "apps", "tocsin.dataset.digest": digest_frame(frame),
            "tocsin.dataset.rows": len(frame), "tocsin.dataset.label": "label",
            "tocsin.dataset.schema": json.dumps([["income", "number"], ["label", "text"]]),
            "tocsin.dataset.labels": json.dumps(label_counts(lazy, "label")),
            "tocsin.dataset.profile": json.dumps(profile(lazy, "label")),
        }  # fmt: skip
        events.append(event)
    return pl.DataFrame(events), {
        e["tocsin.dataset.digest"]: f.lazy() for e, f in zip(events, days, strict=True)
    }


def findings(detector: str, days: list[pl.DataFrame], new: int = 1) -> dict[str, Finding]:
    """The findings of the last days by aspect."""
    events, parts = snapshots(days)
    past, now = events.head(len(days) - new), events.tail(new)
    given, trusted = {"dataset": now}, {"dataset": past}
    found = evaluate(detector, given, baseline=trusted, snapshots=parts, params=QUICK.get(detector)).findings
    return {finding.aspect: finding for finding in found}


PAST = [rows(day) for day in range(20)]


@pytest.mark.parametrize("how", SPELLED)
def test_dataset_profile_says_a_new_spelling_and_finds_nothing_else(how: str) -> None:
    found = findings("dataset_profile", [*PAST, rows(20, SPELLED[how])])
    assert found.keys() == {"label spelling"}
    assert found["label spelling"].severity is Severity.MEDIUM
    assert found["label spelling"].evidence["spellings"] == 2


@pytest.mark.parametrize("how", SPELLED)
def test_dataset_profile_finds_changed_labels_in_any_spelling(how: str) -> None:
    found = findings("dataset_profile", [*PAST, rows(20, SPELLED[how], flipped=0.5)])
    plain = findings("dataset_profile", [*PAST, rows(20, flipped=0.5)])
    assert found[""].severity is plain[""].severity
    assert found[""].score == pytest.approx(plain[""].score, rel=0.1)


def test_a_spelling_that_stays_is_usual_and_makes_no_critical_finding() -> None:
    changed = [rows(20 + day, str.upper) for day in range(25)]
    assert findings("dataset_profile", [*PAST, *changed[:2]]).keys() == {"label spelling"}
    for more in (3, 9, 11, 20, 25):
        assert findings("dataset_profile", [*PAST, *changed[:more]]) == {}


def test_classes_that_differ_in_case_alone_stay_classes() -> None:
    def cased(day: int, lower: float) -> pl.DataFrame:
        frame = rows(day)
        random = np.random.default_rng(day)
        labels = ["a" if draw < lower else "A" for draw in random.random(len(frame))]
        return frame.with_columns(pl.Series("label", labels))

    past = [cased(day, 0.3) for day in range(20)]
    assert findings("dataset_profile", [*past, cased(20, 0.3)]) == {}
    assert findings("dataset_profile", [*past, cased(20, 0.6)])[""].severity is Severity.CRITICAL


def test_label_poisoning_judges_the_labels_in_any_spelling() -> None:
    """Of the trusted files, too, one has another spelling: it adds no class to the baseline."""
    past = [rows(day, str.title if day == 7 else str) for day in range(20)]
    quiet = [rows(20 + i, spelled) for i, spelled in enumerate(SPELLED.values())]
    found = findings("label_poisoning", [*past, *quiet, rows(40, SPELLED["zero width"], flipped=0.5)], 7)
    assert found.keys() == {""}
    assert found[""].window_start == MIDNIGHT + timedelta(days=26)
    assert "from 'bad' to 'good'" in found[""].reason


def calls(day: int, days: int, names: tuple[str, str], share: float = 0.3) -> pl.DataFrame:
    random = np.random.default_rng(day)
    size = 300 * days
    score = random.beta(2, 5, size)
    times = [MIDNIGHT + timedelta(days=day, seconds=288 * i) for i in range(size)]
    labels = [names[int(draw < share)] for draw in random.random(size)]
    return pl.DataFrame({
        "@timestamp": times, "event.id": [f"{day}-{i}" for i in range(size)], "tocsin.model.name": "credit",
        "tocsin.output.label": labels, "tocsin.output.score": score,
    })  # fmt: skip


def test_prediction_drift_counts_labels_in_any_spelling() -> None:
    past = calls(0, 28, ("good", "bad"))
    quiet = [calls(28 + i, 1, (new("good"), new("bad"))) for i, new in enumerate(SPELLED.values())]
    moved = calls(34, 1, (SPELLED["case"]("good"), "b\u0430d"), 0.7)
    given = {"inference": pl.concat([*quiet, moved])}
    found = evaluate("prediction_drift", given, baseline={"inference": past}).findings
    days = [(f.window_start - MIDNIGHT).days for f in found if f.aspect == "label spelling"]
    assert days == [28, 29, 30, 31, 32, 33, 34]
    assert [(f.window_start - MIDNIGHT).days for f in found if f.severity is Severity.CRITICAL] == [34]
