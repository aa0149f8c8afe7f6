"""Other tools on the same windows, beside the detectors: drift, label flips, model copies, and accesses to a registry.

The protocol is one for all: a threshold is the 99 % quantile of the scores of the first half of the quiet windows, and the
second half and the attacks are judged by it. Where a tool has a verdict of its own, its rate is given too, as "by its own
default". A tool that cannot be installed has no rows; why is printed.

`first-seen rule` and `count rule` are what SIEM rules do: the number of resources that a principal touches for the first
time, and the number of its accesses or calls; their own defaults are one first-seen resource, and 500 calls a day.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.attacks import tables
from benchmarks.attacks.clients import customer, load_test, power_user
from benchmarks.attacks.extraction import ATTACKS, calls, real, spread
from benchmarks.card import Row, credit, of_windows, shared
from benchmarks.rivals.environments import Answers, Skipped, Windows, ask, hop_skip_jump
from benchmarks.scorecards import access, drift, extraction, poisoning
from tocsin.contract.streams import TIME
from tocsin.testing.evaluate import evaluate

Floats = NDArray[np.float64]
Ask = Callable[[list[Floats]], Answers]

SEEDS = 2  # the first ones only: some tools need seconds for a window
QUIET = 200  # windows of each seed, half of them for the threshold
ATTACKED = 10  # windows of each case and seed
COUNT_RULE = 500  # calls
DRIFTS = ("units", "zeroing", "positive answers", "correlation break", "shift by 1 sd")
LABEL = drift.LABEL


class Judged(NamedTuple):
    """A tool's answers on quiet windows and on attacks, of one kind of data."""

    tool: str
    data: str
    quiet: Answers
    attacks: dict[str, Answers]


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of every tool, and of the detectors on the same windows, of the first two seeds."""
    rows: list[Row] = []
    for seed in (seed for seed in seeds if seed < SEEDS):
        for part in (_drift, _labels, _copies, _accesses):
            for judged in part(seed):
                rows += _rows(judged)
    return rows


def _rows(judged: Judged) -> Iterator[Row]:
    """The rates at the threshold from half of the quiet windows, and by the tool's own default."""
    half = len(judged.quiet.scores) // 2
    threshold = max(float(np.quantile(judged.quiet.scores[:half], 0.99, method="higher")), 1e-12)
    quiet = judged.tool, judged.data, "quiet windows"
    above = np.nextafter(threshold, np.inf)  # equal to a quiet window is no alarm
    yield shared(quiet, "FPR", judged.quiet.scores[half:] / above, quiet=True)
    if judged.quiet.verdicts is not None:
        own = judged.quiet.verdicts[half:]
        yield Row(*quiet, "FPR by its own default", float(own.mean()), len(own))
    for case, answers in judged.attacks.items():
        yield shared((judged.tool, judged.data, case), "TPR", answers.scores / above)
        if answers.verdicts is not None:
            share = float(answers.verdicts.mean())
            yield Row(judged.tool, judged.data, case, "TPR by its own default", share, len(answers.scores))


def _together(
    tool: str, data: str, quiet: list[Floats], attacks: dict[str, list[Floats]], answer: Ask
) -> Iterator[Judged]:
    """One question for all windows, so that a tool is started once."""
    sizes = [len(quiet), *(len(windows) for windows in attacks.values())]
    try:
        found = answer([*quiet, *(window for windows in attacks.values() for window in windows)])
    except Skipped as skipped:
        print(f"# skipped: {skipped}", file=sys.stderr)
        return
    ends = np.cumsum(sizes)
    parts = [
        Answers(
            found.scores[end - n : end], None if found.verdicts is None else found.verdicts[end - n : end]
        )
        for n, end in zip(sizes, ends, strict=True)
    ]
    yield Judged(tool, data, parts[0], dict(zip(attacks, parts[1:], strict=True)))


def _drift(seed: int) -> Iterator[Judged]:
    data = drift.Credit(seed)
    truth = credit()[LABEL].to_numpy()[np.random.default_rng(seed).permutation(len(credit()))]
    known = truth[drift.MODEL_ROWS : drift.MODEL_ROWS + drift.BASELINE_ROWS]
    frame = data.frame([data.baseline])
    quiet = [data.draw() for _ in range(QUIET)]
    attacks = {
        f"{kind}, {share:.0%} of rows": [drift.damage(data, kind, share) for _ in range(ATTACKED)]
        for share in drift.WINDOWS
        for kind in DRIFTS
    }
    baselines, _ = drift.fitted(frame, data.frame(quiet[:2]))

    def ours(windows: list[Floats]) -> Answers:
        scores = np.asarray(drift.ratios(drift.scored(baselines, data.frame(windows))))
        return Answers(scores, scores >= 1)

    def answered(rows: Floats, labels: Floats) -> Floats:
        scores = data.model.predict_proba(rows)[:, 1]
        return np.column_stack([rows, labels, scores, (scores >= 0.5).astype(float)])

    names = [*data.names, "label", "score", "answer"]
    reference = answered(data.baseline, known.astype(float))
    plain = Windows(data.names, data.baseline, [])
    yield from _together("feature_drift+prediction_drift", "credit, drift", quiet, attacks, ours)
    for tool, rival, method in (
        ("evidently", "evidently", ""), ("nannyml drift", "nannyml", "drift"), ("pyod ECOD", "pyod", "")
    ):  # fmt: skip
        yield from _together(tool, "credit, drift", quiet, attacks, _asked(rival, method, plain))

    def cbpe(windows: list[Floats]) -> Answers:
        rows = [answered(window, np.zeros(len(window))) for window in windows]
        return ask("nannyml", Windows(names, reference, rows), "cbpe")

    yield from _together("nannyml CBPE", "credit, drift", quiet, attacks, cbpe)


def _asked(rival: str, method: str, known: Windows) -> Ask:
    return lambda windows: ask(rival, Windows(known.names, known.reference, windows), method)


def _labels(seed: int) -> Iterator[Judged]:
    stream = poisoning.Stream(credit(), LABEL, seed)
    changes = {
        "directional flips 0→1, 5 %": poisoning.flipped(LABEL, "0→1", 0.05),
        "directional flips 1→0, 5 %": poisoning.flipped(LABEL, "1→0", 0.05),
        "random flips, 5 %": poisoning.flipped(LABEL, "random", 0.05),
        "fixed trigger, 1 %": poisoning.triggered(LABEL, 0.01, 0),
    }
    names = [*(name for name in stream.trusted.columns if name != LABEL), "label"]

    def numbers(frame: pl.DataFrame) -> Floats:
        return frame.rename({LABEL: "label"}).select(names).to_numpy().astype(np.float64)

    quiet = [numbers(stream.batch()) for _ in range(QUIET)]
    attacks = {
        case: [numbers(change(stream.batch(), stream.rng)) for _ in range(ATTACKED)]
        for case, change in changes.items()
    }

    def ours(windows: list[Floats]) -> Answers:
        kinds = stream.trusted.rename({LABEL: "label"}).select(names).schema
        frames = [pl.DataFrame(w, schema=names).cast(kinds).rename({"label": LABEL}) for w in windows]
        scores = np.asarray(
            of_windows(stream.judged([f.select(stream.trusted.columns) for f in frames]).scores)
        )
        return Answers(scores, scores >= 1)

    yield from _together("label_poisoning", "credit, labels", quiet, attacks, ours)
    known = Windows(names, numbers(stream.trusted), [])
    yield from _together("cleanlab", "credit, labels", quiet, attacks, _asked("cleanlab", "", known))


def _copies(seed: int) -> Iterator[Judged]:
    trial = extraction.Trial(tables.cards(), "label", seed)
    target, rng = trial.target, trial.rng
    behaviors = [(customer, 100), (customer, 100), (power_user, 150), (lambda _t, _r: load_test, 1000)]
    quiet = []
    for number in range(QUIET):
        make, count = behaviors[number % len(behaviors)]
        quiet.append(make(target, rng)(target, rng, count))
    named = {**{name: ATTACKS[name] for name in extraction.BARRED}, "random real rows": real}
    attacks = {
        f"{name}, 100 queries": [attack(target, rng, 100) for _ in range(ATTACKED)]
        for name, attack in named.items()
    }
    try:
        answers = target.model.predict(target.rows)
        attacks["HopSkipJump (ART), 100 queries"] = hop_skip_jump(target.rows, answers, ATTACKED, 100, seed)
    except Skipped as skipped:
        print(f"# skipped: {skipped}", file=sys.stderr)
    baseline = trial.month["tocsin.features.values"].to_list()
    known = Windows(target.names.split(","), np.asarray(baseline, dtype=np.float64), [])

    def ours(windows: list[Floats]) -> Answers:
        parts = [_by_principal(trial, windows[first : first + 20]) for first in range(0, len(windows), 20)]
        scores = np.concatenate(parts)
        return Answers(scores, scores >= 1)

    def counted(windows: list[Floats]) -> Answers:
        counts = np.asarray([float(len(rows)) for rows in windows])
        return Answers(counts, counts >= COUNT_RULE)

    yield from _together("model_extraction", "credit, copies", quiet, attacks, ours)
    yield from _together("pyod ECOD", "credit, copies", quiet, attacks, _asked("pyod", "", known))
    yield from _together("count rule", "credit, copies", quiet, attacks, counted)


def _by_principal(trial: extraction.Trial, windows: list[Floats]) -> Floats:
    """The highest score in thresholds of each principal of a day, one for each window."""
    names = [f"caller-{number:02}" for number in range(len(windows))]
    times = [spread(trial.rng, extraction.BASELINE_DAYS, len(rows)) for rows in windows]
    days = [calls(trial.target, *one) for one in zip(names, windows, times, strict=True)]
    scores = evaluate("model_extraction", {"inference": pl.concat(days)}, baseline=trial.baseline).scores
    ratio = (pl.col("score") / pl.col("threshold")).max()
    found = dict(scores.group_by("subject.id").agg(ratio).iter_rows())
    return np.asarray([found.get(name, 0.0) for name in names])


def _accesses(seed: int) -> Iterator[Judged]:
    stream, rng = access.Stream("kubeflow_pipelines"), np.random.default_rng(seed)
    days = stream.test.group_by("user.id", pl.col(TIME).dt.truncate("1d").alias("day"), maintain_order=True)
    quiet = [rows for _, rows in days]
    chosen = rng.choice(len(quiet), min(2 * QUIET, len(quiet)), replace=False)
    sessions = [
        stream.masquerade(rng, "active", access.ACCESSES, different=True) for _ in range(2 * ATTACKED)
    ]
    attacks = [_with_real(stream, attack) for attack in sessions]
    everything = {
        "quiet": [quiet[int(place)] for place in chosen],
        "six different, active principal": attacks,
    }
    for tool, score, least in (
        ("registry_access", _surprise(stream), 1.0),
        ("first-seen rule", _first_seen(stream), 1.0),
        ("count rule", lambda rows: float(len(rows)), float(COUNT_RULE)),
    ):
        scores = {case: np.asarray([score(rows) for rows in days]) for case, days in everything.items()}
        answers = {case: Answers(found, found >= least) for case, found in scores.items()}
        yield Judged(tool, "kubeflow_pipelines, days", answers.pop("quiet"), answers)


def _with_real(stream: access.Stream, attack: access.Attack) -> pl.DataFrame:
    day = pl.col(TIME).dt.truncate("1d") == attack.start
    return pl.concat([stream.test.filter(day, pl.col("user.id") == attack.principal), attack.rows])


def _surprise(stream: access.Stream) -> Callable[[pl.DataFrame], float]:
    def score(rows: pl.DataFrame) -> float:
        found = stream.scores(_day(rows), access.DAY, rows)
        return found[rows["user.id"][0]] / (stream.baseline.threshold or 1.0)

    return score


def _first_seen(stream: access.Stream) -> Callable[[pl.DataFrame], float]:
    def score(rows: pl.DataFrame) -> float:
        mine = stream.rows.filter(pl.col("user.id") == rows["user.id"][0], pl.col(TIME) < _day(rows))
        known = mine["tocsin.resource.id"].unique()
        return float(
            rows.filter(~pl.col("tocsin.resource.id").is_in(known.to_list()))["tocsin.resource.id"].n_unique()
        )

    return score


def _day(rows: pl.DataFrame) -> datetime:
    first = rows[TIME].min()
    assert isinstance(first, datetime)
    return first.replace(hour=0, minute=0, second=0, microsecond=0)
