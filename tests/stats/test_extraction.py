"""Runs of queries, the norms of honest ones, and the verdict on a principal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.dependence import Dependence
from tocsin.stats.extraction import SIZES, STATISTICS, Honest, Norm, Queries, drawn_in_turn, learn, parts
from tocsin.stats.geometry import Reference, domains
from tocsin.stats.tails import Tail

PRINCIPALS = 12


@given(st.integers(0, 3000), st.sampled_from(SIZES), st.integers(1, 20))
def test_parts_are_runs_of_one_size_in_order(count: int, size: int, limit: int) -> None:
    runs = parts(count, size, limit)
    assert len(runs) == min(count // size, limit)
    assert all(size <= run.stop - run.start < 2 * size for run in runs)
    assert all(a.stop <= b.start for a, b in zip(runs, runs[1:], strict=False))
    if count // size <= limit and runs:
        assert sum(run.stop - run.start for run in runs) == count


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 30))
def test_drawn_in_turn_takes_from_everyone(owners: list[str], limit: int) -> None:
    places = drawn_in_turn(owners, limit)
    assert len(set(places.tolist())) == len(places) == min(limit, len(owners))
    taken = {owner: sum(owners[p] == owner for p in places.tolist()) for owner in set(owners)}
    for owner, count in taken.items():
        assert count == owners.count(owner) or count >= max(taken.values()) - 1


def rows(rng: np.random.Generator, count: int) -> np.ndarray:
    size = rng.normal(size=count)
    return np.column_stack([size + 0.2 * rng.normal(size=count) for _ in range(6)])


@pytest.fixture(scope="module")
def world() -> tuple[Honest, Reference]:
    rng = np.random.default_rng(0)
    asked = [rows(rng, 240) for _ in range(PRINCIPALS)]
    everything = np.concatenate(asked)
    owners = [f"p{i}" for i in range(PRINCIPALS) for _ in range(240)]
    reference = Reference(everything[::2], owners[::2], domains(everything), Dependence.of(everything))
    return learn([queries(reference, f"p{i}", q, rng) for i, q in enumerate(asked)], 0.52), reference


def queries(reference: Reference, owner: str, asked: np.ndarray, rng: np.random.Generator) -> Queries:
    return Queries(owner, reference.place(asked, [owner] * len(asked)), rng.uniform(0.5, 1, len(asked)))


def test_honest_principals_are_normal(world: tuple[Honest, Reference]) -> None:
    honest, reference = world
    rng = np.random.default_rng(1)
    z = [honest.judge(queries(reference, "new", rows(rng, 100), rng), 20) for _ in range(30)]
    assert np.mean([v is not None and v.z < 4.8 for v in z]) >= 0.95


@pytest.mark.parametrize("count", [100, 450])
def test_independent_features_are_far_from_everything(world: tuple[Honest, Reference], count: int) -> None:
    honest, reference = world
    rng = np.random.default_rng(2)
    verdict = honest.judge(queries(reference, "new", rng.normal(size=(count, 6)), rng), 20)
    assert verdict is not None
    assert verdict.statistic == "alone"
    assert verdict.z > 10


def test_doubt_alone_is_seen_and_can_be_unknown(world: tuple[Honest, Reference]) -> None:
    honest, reference = world
    rng = np.random.default_rng(3)
    asked = queries(reference, "new", rows(rng, 100), rng)
    unsure = honest.judge(Queries("new", asked.placed, np.full(100, 0.5)), 20)
    unknown = honest.judge(Queries("new", asked.placed, np.full(100, np.nan)), 20)
    assert unsure is not None
    assert unsure.statistic == "boundary"
    assert unknown is not None
    assert unknown.z < unsure.z


def test_too_few_queries_have_no_verdict(world: tuple[Honest, Reference]) -> None:
    honest, reference = world
    rng = np.random.default_rng(4)
    assert honest.judge(queries(reference, "new", rows(rng, 19), rng), 20) is None


def test_too_few_principals_have_no_norms() -> None:
    rng = np.random.default_rng(5)
    asked = rows(rng, 400)
    reference = Reference(asked, ["a", "b"] * 200, domains(asked))
    assert learn([queries(reference, o, asked[i::2], rng) for i, o in enumerate("ab")], 0.5).norms == {}


def test_nobody_is_held_to_less_than_its_own_past() -> None:
    norm = Norm(0.0, Tail(0.1, 0.05), {"odd": 0.6})
    marks = np.repeat([0.0, 1.0], 50)
    assert norm.z(marks, "anyone") == pytest.approx(8)
    assert norm.z(marks, "odd") == 0


def test_a_mean_over_few_marks_counts_less() -> None:
    norm = Norm(0.0, Tail(0.0, 0.1), {})
    half = np.where(np.arange(100) % 2, 1.0, np.nan)
    assert norm.z(half, "anyone") == pytest.approx(10 * np.sqrt(0.5))
    few = np.where(np.arange(100) < 20, 1.0, np.nan)
    assert norm.z(few, "anyone") == 0


def test_every_statistic_has_its_words(world: tuple[Honest, Reference]) -> None:
    assert set(world[0].norms[100]) == set(STATISTICS)
