"""The scorecard in small: each family with one seed and few trials, against bars a little under what was measured.

A bar here is frozen: a change that lowers a figure below it is a regression. The whole scorecard: `make scorecard`.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from benchmarks.attacks.clients import customer
from benchmarks.attacks.cloud_account import START
from benchmarks.attacks.extraction import ATTACKS
from benchmarks.card import Row, credit, of_windows
from benchmarks.scorecards import access, cloud, drift, extraction, performance, poisoning, relations

pytestmark = pytest.mark.full


def found(scores, least=1.0) -> float:
    return float(np.mean(np.asarray(scores) >= least))


def by_name(rows: list[Row]) -> dict[str, float]:
    return {f"{row.data}: {row.case}": row.value for row in rows}


def test_poisoned_labels_are_found_and_clean_batches_are_quiet(shared_data):
    shared_data("credit_default_uci")
    label = drift.LABEL
    stream = poisoning.Stream(credit(), label, 0)

    def scores(change=None, count=10):
        batches = [stream.batch() for _ in range(count)]
        changed = batches if change is None else [change(batch, stream.rng) for batch in batches]
        return of_windows(stream.judged(changed).scores)

    assert found(scores(count=15)) <= 0.07
    assert found(scores(poisoning.flipped(label, "0→1", 0.05))) >= 0.8
    assert found(scores(poisoning.flipped(label, "1→0", 0.05))) >= 0.6
    assert found(scores(poisoning.triggered(label, 0.01, 0))) >= 0.9


def test_shifted_inputs_are_found_and_quiet_windows_are_quiet(shared_data):
    shared_data("credit_default_uci")
    data = drift.Credit(0)
    baselines, quiet = drift.fitted(data.frame([data.baseline]), data.frame([data.draw() for _ in range(30)]))
    assert found(drift.ratios(quiet)) <= 0.07
    for kind, bar in {"units": 0.9, "zeroing": 0.9, "correlation break": 0.87, "shift by 1 sd": 0.87}.items():
        damaged = data.frame([drift.damage(data, kind, 0.25) for _ in range(8)])
        assert found(drift.ratios(drift.scored(baselines, damaged))) >= bar, kind


def test_broken_relations_are_found(shared_data, monkeypatch):
    shared_data("acs_employment_nannyml")
    shared_data("synth_car_loan_nannyml")
    monkeypatch.setattr(relations, "WINDOWS", {0.0: 20, 0.1: 2, 0.25: 6})
    rates = by_name(relations.measure((0,)))
    for data in ("car_loan", "acs_employment"):
        assert rates[f"{data}: quiet windows"] <= 0.1
        assert rates[f"{data}: correlation break, 25% of rows"] >= 0.8


def test_labels_that_no_longer_fit_are_found_in_two_windows(shared_data):
    shared_data("acs_employment_nannyml")
    shared_data("synth_car_loan_nannyml")
    rates = by_name(performance.measure((0,)))
    assert rates["acs_employment: labels fit 20% of rows"] == 1
    assert rates["acs_employment: a quiet year"] <= 0.02
    assert rates["acs_employment: estimated accuracy of a year"] <= 0.01
    assert rates["car_loan: after the change"] >= 0.95


def test_copies_of_a_model_are_found_and_customers_are_not(shared_data, monkeypatch):
    shared_data("credit_default_uci")
    monkeypatch.setattr(extraction, "WINDOWS", 2)
    monkeypatch.setattr(extraction, "HONEST", {"customers": (customer, extraction.QUERIES, 20)})
    trial = extraction.Trial(credit(), drift.LABEL, 0)
    for name in extraction.BARRED:
        ratios = trial.attacked(ATTACKS[name])
        assert found(ratios[1.0]) == 1, name
        assert found(ratios[0.5]) >= 0.5, name
    assert found(trial.honest("customers")) <= 0.05


def test_masquerades_are_found_and_quiet_days_are_quiet(shared_data):
    shared_data("git_access")
    stream, rng = access.Stream("kubeflow_pipelines"), np.random.default_rng(0)
    sessions = [stream.masquerade(rng, "active", access.ACCESSES, different=True) for _ in range(12)]
    days = stream.test.group_by(pl.col("@timestamp").dt.truncate("1d"), maintain_order=True)
    quiet = [
        score for (day,), rows in list(days)[::10] for score in stream.scores(day, access.DAY, rows).values()
    ]
    threshold = stream.baseline.threshold or 0.0
    assert found([stream.session(attack) for attack in sessions], threshold) >= 0.7
    assert found(quiet, threshold) <= 0.02


def test_cloud_techniques_are_found_without_a_baseline(shared_data):
    logs = shared_data("stratus_detonation") / "logs"
    day = START + timedelta(days=1)
    hits = []
    for path in sorted(logs.glob("*.json")):
        rows = cloud.technique(path.name, day)
        hits.append(any(judged.finding for judged in cloud.judged(day, rows, None, rows.clear())))
    assert found(hits) >= 0.9
