"""Verdicts: what clues for several causes add up to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tocsin.contract.verdict import Clue, Explanation, Verdict, explained

CAUSES = st.sampled_from([v for v in Verdict if v is not Verdict.UNEXPLAINED])
CLUES = st.lists(st.builds(Clue, CAUSES, st.floats(-5, 5), st.text(max_size=3)), max_size=6)


def test_the_best_supported_cause_wins_and_says_why() -> None:
    clues = [
        Clue(Verdict.ATTACK, 3.0, "one writer only"),
        Clue(Verdict.DRIFT, 1.0, "grew for weeks"),
        Clue(Verdict.DRIFT, -1.0, "few rows"),
    ]
    found = explained(clues)
    assert found == Explanation(Verdict.ATTACK, ("one writer only", "few rows"), ("grew for weeks",))
    assert found.lead == "likely attack"
    assert found.to_dict()["verdict"] == "attack"


def test_without_a_clear_lead_the_cause_is_unexplained() -> None:
    assert explained([]) == Explanation(Verdict.UNEXPLAINED)
    even = [Clue(Verdict.ATTACK, 2.0, "a"), Clue(Verdict.DRIFT, 1.5, "b")]
    assert explained(even).verdict is Verdict.UNEXPLAINED
    assert explained(even).opposing == ("a", "b")


def test_a_calming_cause_needs_a_larger_lead() -> None:
    for cause, least in ((Verdict.DRIFT, 1.0), (Verdict.CALENDAR, 2.0), (Verdict.PIPELINE_CHANGE, 2.0)):
        attack = Clue(Verdict.ATTACK, 1.0, "a")
        assert explained([attack, Clue(cause, 1.0 + least, "b")]).verdict is cause
        assert explained([attack, Clue(cause, 0.9 + least, "b")]).verdict is not cause


@given(CLUES, st.randoms(use_true_random=False))
def test_the_order_of_clues_does_not_matter(clues, random) -> None:
    shuffled = list(clues)
    random.shuffle(shuffled)
    assert explained(shuffled).verdict is explained(clues).verdict
    assert set(explained(shuffled).supporting) == set(explained(clues).supporting)


@given(CLUES, st.floats(0.1, 5))
def test_more_for_attack_never_makes_another_cause_of_it(clues, weight) -> None:
    if explained(clues).verdict is Verdict.ATTACK:
        assert explained([*clues, Clue(Verdict.ATTACK, weight, "more")]).verdict is Verdict.ATTACK
