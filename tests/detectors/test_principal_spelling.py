"""Names that share a canonical form, and what that form is."""

from __future__ import annotations

import time
import unicodedata
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tocsin.testing.evaluate import evaluate
from tocsin_detectors._spelling import NOBODY, canonical, is_disguised, pooled

DAY = datetime(2026, 3, 3, tzinfo=UTC)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_@./:", min_size=1, max_size=20)
INVISIBLE = st.sampled_from(
    ["", " ", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e", "\t", "\u00a0"]
)
LOOK_ALIKES = {
    "a": "\u0430",
    "e": "\u0435",
    "o": "\u043e",
    "p": "\u0440",
    "c": "\u0441",
    "i": "\u0456",
    "x": "\u0445",
}


@given(NAMES, st.randoms(use_true_random=False), INVISIBLE)
def test_every_spelling_of_a_name_has_its_canonical_form(name: str, random: Random, invisible: str) -> None:
    spelled = "".join(
        random.choice([c, c.upper(), LOOK_ALIKES.get(c, c), chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c])
        + random.choice(["", invisible])
        for c in name
    )
    assert canonical(spelled) == canonical(name) == name


@given(st.text(max_size=30))
def test_the_canonical_form_is_its_own(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)
    assert canonical(unicodedata.normalize("NFD", name)) == canonical(unicodedata.normalize("NFC", name))


@given(st.lists(st.none() | st.text(max_size=8), max_size=20))
def test_a_pool_for_every_name(names: list[str | None]) -> None:
    pools = pooled(pl.Series(names, dtype=pl.String)).to_list()
    assert pools == [canonical(name or "") or NOBODY for name in names]


def test_a_principal_called_like_nobody_is_in_the_pool_of_nobody() -> None:
    names = [NOBODY, NOBODY.upper(), None, "", "ana"]
    assert pooled(pl.Series(names)).to_list() == [*[NOBODY] * 4, "ana"]


@given(st.text("\u115f\u1160\u2800\u3164\uffa0\U0001d159\u0301\u202e", min_size=1, max_size=20))
def test_characters_without_ink_do_not_make_another_name(blank: str) -> None:
    assert canonical(f"ana{blank}") == canonical(f"{blank}ana") == "ana"
    assert is_disguised(f"ana{blank}") or not set(blank) - {"\u0301"}


def test_a_long_run_of_combining_marks_costs_no_more_than_its_length() -> None:
    began = time.perf_counter()
    assert canonical("a" + "\u0315\u0300" * 100_000) == "a"
    assert time.perf_counter() - began < 20  # quadratic: minutes


def test_what_looks_like_another_name_is_disguised() -> None:
    assert all(map(is_disguised, ["mallory\u200b", "m\u0430llory", "\uff4dallory", "mal\u00adlory"]))
    assert not any(map(is_disguised, ["mallory", "Mallory", " mallory ", "m\u00fcller", "svc-1"]))


def calls(*names: str, day: int = 0) -> pl.DataFrame:
    times = [DAY + timedelta(days=day, seconds=i) for i in range(len(names))]
    ids = [f"{day}-{i}" for i in range(len(names))]
    return pl.DataFrame({"@timestamp": times, "event.id": ids, "user.id": names})


def test_a_flood_of_spellings_is_one_finding_about_the_known_name() -> None:
    flood = calls(*(f"ana{chr(0x200B) * (k + 1)}" for k in range(500)))
    history = calls(*["ana"] * 10, day=-3)
    (finding,) = evaluate("principal_spelling", {"inference": pl.concat([history, flood])}).findings
    assert (finding.subject.id, finding.severity.value) == ("ana", "high")
    assert finding.reason == "ana has a double: 500 names of which each looks like it made 500 events"
    assert finding.evidence["new"][0] == {"name": "ana\u200b", "code points": "U+200B"}  # type: ignore[index]
    assert len(finding.reason) <= 200


def test_a_spelling_that_was_there_before_is_quiet() -> None:
    history = calls("ana", "ANA", day=-3)
    assert not [
        f
        for f in evaluate(
            "principal_spelling", {"access": pl.concat([history, calls("ana", "ANA")])}
        ).findings
        if f.window_start >= DAY.replace(hour=0)
    ]
