"""Labels of a training set were flipped, or a trigger was planted in its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tocsin import (
    Baseline,
    BaselineError,
    Detector,
    Early,
    Requires,
    Score,
    SnapshotError,
    Stability,
    Subject,
    Tail,
    Window,
    not_judged,
    param,
)
from tocsin.contract.findings import Family
from tocsin.contract.streams import TIME
from tocsin.datasets.digest import digest_frame
from tocsin.datasets.labels import canonical_labels
from tocsin.stats.label_nulls import Nulls
from tocsin.stats.reference import Reference
from tocsin.words import count, short
from tocsin_detectors import _label_rows as label_rows
from tocsin_detectors._dataset_aspects import sampled
from tocsin_detectors._label_causes import HISTORY, explain
from tocsin_detectors._label_rows import Batch, Likeness, Tested, Unjudged, sentence_of, spending
from tocsin_detectors._snapshots import (  # fmt: skip
    LABEL,
    PLACE,
    Snapshot,
    labeled,
    pool,
    read,
    snapshots_of,
    split_pool,
    usual_label,
    usual_number,
)

_NEW = 1000  # new datasets that are listed as not judged
_MOST_SNAPSHOTS = 1000  # snapshots of a dataset that are judged in a window
_KEPT = 8  # fitted references kept in memory


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `label_poisoning`."""

    share: float = param(
        0.02,
        ge=0.001,
        le=0.3,
        doc="share of flipped labels that the tests assume; the tests detect other shares too",
    )
    trusted_rows: int = param(
        20_000,
        ge=500,
        doc="maximum number of trusted rows of a dataset for the fit, and of judged rows of a snapshot",
    )
    min_rows: int = param(300, ge=100, doc="a dataset with fewer trusted rows is not judged")
    min_batch: int = param(30, ge=10, doc="a snapshot with fewer new rows is not judged")
    max_labels: int = param(20, ge=2, doc="a label column with more distinct values is not judged")
    chunks: int = param(200, ge=20, doc="number of batches of trusted rows that calibrate the threshold")
    chunk_rows: int = param(1_000, ge=30, doc="maximum number of rows in such a batch")


class LabelPoisoning(Detector[Params]):
    """Labels of a training set were flipped, or combinations of values were planted in its rows.

    What it sees
        Label flips in one direction, in both, or among several labels; flips in the rows with one value of a column
        of few values, such as one partner; backdoor triggers (some columns set to the same or nearly the same values
        in about 1 % of the rows or more); labels that the trusted rows do not contain. A finding names the likely
        cause (attack, drift, pipeline change, calendar or unexplained), the snapshot, its writer, the direction
        and the most suspicious rows, numbered from 0.
    Method
        The detector fits a gradient-boosting model of the label on trusted snapshots. For each direction it
        computes the log-likelihood ratio of flipped to unflipped labels (Neyman and Pearson 1933), minus the
        expected ratio, given the features of the rows. The detector standardizes this ratio with the mean and
        the spread that cross-fitting measures on the trusted rows. If the trusted snapshots differ by more than
        sampling error (Cochran 1954), the detector widens the null distribution. The same ratio is tested in
        each group of rows, with p-values that are adjusted for the number of groups. To find triggers, the
        detector counts pairs and triples of exact values and of quantile bins in the new rows and in the trusted
        rows. The deviate of the most unusual combination, by likelihood ratio (Wilks 1938), is divided by a value
        that batches without a trigger almost never reach. The score is the largest of all these values. Exact
        values that no trusted row has together, and 10 % of flips in a group, are at least `high`. For a finding,
        the detector also tests up to 16 earlier snapshots: the cause is weighed from when, where and how the
        labels changed, and from what was deployed. The cause never changes the score.
    Blind spots
        Clean-label attacks; triggers in fewer than five rows, in columns with two or three values, or spread
        over wide ranges; a few flips in a group of fewer than 100 rows; poisoned rows that the baseline already
        contains; numeric targets. An attack that grows slowly is called drift. Snapshots that together have too
        few new rows get score 0 and no alert. If a snapshot of a known dataset cannot be read, or lacks the label
        or all columns, the finding is "not judged". Snapshots beyond the usual number of a window need a score
        that is up to a third higher.

        Cost: linear in events, in the rows of the judged snapshots, and in at most 300 groups. Limits: 1,000
        datasets in a baseline, 1,000 snapshots of a dataset (evenly spaced), `trusted_rows` rows of a snapshot,
        100 new names of a source, 100 writers of small snapshots.
    False alarms
        A real change of the label's meaning, or of how the label depends on the features (a new policy, a new
        labeling team); a campaign or a retry that adds many nearly equal rows at once.
    Respond
        Quarantine the snapshot before the next training run. Read the rows that the evidence lists and ask the
        writer where the rows come from. Compare with the last good snapshot. Retrain without the rows.
    """

    id = "label_poisoning"
    requires = Requires("dataset", window="1d", baseline="60d", history=HISTORY)
    atlas = ("AML.T0020", "AML.T0059", "AML.T0043.004")
    playbook = "training-data-poisoning"
    early = Early(by="tocsin.dataset.name", grows=True, whole=True, growth=1)
    family = Family.DATA_INTEGRITY
    stability = Stability.BETA
    floor = 1.0
    tail = Tail.NORMAL

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._references: dict[tuple[str, ...], Reference] = {}

    def split(self, window: Window) -> tuple[Window, Window]:
        """The same snapshots twice: with four fifths of their rows for fitting, with one fifth for calibration."""
        fitted: dict[str, pl.LazyFrame] = {}
        calibrating: dict[str, pl.LazyFrame] = {}
        for snapshots in labeled(window).values():
            first, second = split_pool(window, snapshots, self.params.trusted_rows)
            fitted |= first
            calibrating |= second
        events = {"dataset": window.rows("dataset")}
        return window.with_rows(events, fitted), window.with_rows(events, calibrating)

    def fit(self, window: Window) -> Baseline | None:
        """Store trusted rows of each dataset, and the null distributions of the tests on these rows.

        Raises:
            BaselineError: the window has labeled datasets, but none of them can be judged.
        """
        frames: dict[str, pl.DataFrame] = {}
        datasets: dict[str, dict[str, Any]] = {}
        known = labeled(window)
        if not known and not window.rows("dataset", ["tocsin.dataset.name"]).is_empty():
            raise BaselineError(
                f"detector {self.id}: no label column is set; set `label` of the dataset collector, and the files are "
                "read again"
            )
        for name, snapshots in known.items():
            rows = pool(window, snapshots, self.params.trusted_rows)
            reason = label_rows.unfit(rows, self.params.min_rows, self.params.max_labels)
            if rows is None or reason:
                datasets[name] = {"reason": reason}
                continue
            frame = f"rows-{len(frames)}"
            frames[frame] = rows
            facts: dict[str, Any] = {"frame": frame, "digest": digest_frame(rows)}
            facts |= {
                "label": usual_label(snapshots),
                "snapshots": usual_number(window, name, self.requires.window),
                "sources": sorted({s.source for s in snapshots if s.source}),
            }
            datasets[name] = facts | {"nulls": self._fitted(frames, facts, ()).nulls.to_dict()}
        if datasets and not frames:
            reasons = "; ".join(f"{name}: {facts['reason']}" for name, facts in datasets.items())
            raise BaselineError(f"detector {self.id} can judge none of the datasets ({reasons})")
        return Baseline(frames, {"datasets": datasets}) if frames else None

    def chunks(self, window: Window) -> Iterator[Window]:
        """Quiet snapshots, drawn from the held-out rows of each dataset without replacement.

        A chunk has as many snapshots as a window usually has, because the worst of them counts.
        """
        known = {name: facts for name, facts in label_rows.datasets_of(window).items() if "frame" in facts}
        for name, snapshots in labeled(window).items():
            rows = pool(window, snapshots, self.params.trusted_rows) if name in known else None
            if rows is None:
                continue
            label = known[name]["label"]
            rows = rows.drop(PLACE).rename({LABEL: label})
            size = min(self.params.chunk_rows, max(len(rows) // 4, self.params.min_batch), len(rows))
            event = {TIME: window.start, "tocsin.dataset.name": name, "tocsin.dataset.label": label}
            digests = [f"chunk-{place}" for place in range(known[name]["snapshots"])]
            events = pl.DataFrame([event | {"tocsin.dataset.digest": digest} for digest in digests])
            random = np.random.default_rng(0)
            for _ in range(-(-self.params.chunks // len(known))):
                drawn = {d: rows[random.choice(len(rows), size, replace=False)].lazy() for d in digests}
                yield window.with_rows({"dataset": events}, drawn)

    def score(self, window: Window) -> Iterator[Score]:
        known = label_rows.datasets_of(window)
        likeness = Likeness(window, known)
        for name, snapshots in snapshots_of(window).items():
            subject = Subject("dataset", name)
            facts = known.get(name) or likeness.of(snapshots)
            if facts is not None and "frame" in facts:
                yield from self._dataset(window, subject, facts, snapshots)
            elif any(snapshot.label for snapshot in snapshots) and likeness.unlike <= _NEW:
                reason = (facts or {}).get("reason", "the baseline holds no snapshot of it")
                yield Score(subject, 0.0, f"{name} was not judged: {reason}")

    def _dataset(
        self, window: Window, subject: Subject, facts: Mapping[str, Any], snapshots: Sequence[Snapshot]
    ) -> Iterator[Score]:
        """The worst score of the snapshots of one dataset, and findings about those that cannot be judged."""
        read_ = sampled(snapshots, _MOST_SNAPSHOTS)
        found = [self._new_rows(window, facts, snapshot) for snapshot in read_]
        unjudged = [part for part in found if isinstance(part, Unjudged)]
        batches = [part for part in found if isinstance(part, Batch)]
        judged = list(label_rows.pooled(batches, self.params.min_batch))
        usual = int(facts.get("snapshots", 1))
        tested = [
            self._tested(window, facts, batch, spending(place - usual)) for place, batch in enumerate(judged)
        ]
        for batch in () if judged else batches:
            few = f"{count(len(batch.rows), 'new row')} with a label; at least {self.params.min_batch} are needed"
            unjudged.append(Unjudged(batch.snapshot, f"the snapshot has {few}"))
        if tested:
            yield self._said(window, subject, facts, max(tested, key=lambda one: one.value))
        else:
            text = f"{short(subject.id)} was not judged: {unjudged[0].reason}"
            yield Score(subject, 0.0, text, {"snapshot": unjudged[0].snapshot.digest})
        yield from label_rows.aspects(subject, unjudged)
        if len(read_) < len(snapshots):
            more = len(snapshots) - len(read_)
            yield not_judged(
                subject, "more snapshots", f"{count(more, 'more snapshot')} of {subject.id}", more
            )

    def _new_rows(self, window: Window, facts: Mapping[str, Any], snapshot: Snapshot) -> Batch | Unjudged:
        """The rows of a snapshot that the trusted rows do not have."""
        if snapshot.failed:
            return Unjudged(snapshot, "the file could not be read", label_rows.UNREADABLE)
        try:
            rows = read(window, snapshot, facts["label"], self.params.trusted_rows)
        except SnapshotError as error:
            return Unjudged(snapshot, str(error), label_rows.UNREADABLE)
        if rows is None:
            return Unjudged(snapshot, f"the snapshot has no column {facts['label']}", label_rows.NO_LABEL)
        known_ = self._fitted(window, facts, ())
        rows = label_rows.aligned(rows, list(known_.encoder.texts), known_.classes.categories.to_list())
        reference, missing = self._suited(window, facts, rows)
        if reference is None:
            return Unjudged(
                snapshot, "the snapshot has none of the columns of the trusted rows", label_rows.NO_COLUMNS
            )
        known = reference.known(reference.encoder.encode(rows), reference.codes(rows[LABEL]))
        return Batch(snapshot, rows.filter(pl.Series(~known)), tuple(missing), int(known.sum()))

    def _tested(self, window: Window, facts: Mapping[str, Any], batch: Batch, factor: float) -> Tested:
        reference = self._fitted(window, facts, batch.missing)
        encoded, codes = reference.encoder.encode(batch.rows), reference.codes(batch.rows[LABEL])
        signs, own = reference.signs(encoded, codes, self.params.share)
        worst = max(signs, key=lambda sign: sign.value)
        return Tested(max(worst.value * factor, 0.0), batch, worst, own)

    def _said(self, window: Window, subject: Subject, facts: Mapping[str, Any], tested: Tested) -> Score:
        """The score of the worst batch, with its likely cause if it may be a finding."""
        batch, evidence = tested.batch, tested.evidence(facts["label"])
        words = f"{count(len(batch.rows), 'new row')} like the trusted rows"
        if tested.value >= self.floor:
            reference = self._fitted(window, facts, batch.missing)
            cause = explain(window, subject.id, facts, reference, batch, tested.worst)
            words, evidence = f"{cause.lead}: {tested.worst.words}", {**evidence, **cause.to_dict()}
        return Score(subject, tested.value, sentence_of(subject.id, words, batch.snapshot.writer), evidence)

    def _suited(
        self, window: Window, facts: Mapping[str, Any], rows: pl.DataFrame
    ) -> tuple[Reference | None, list[str]]:
        """The reference on the columns that the rows have, and the missing columns. None if all are missing."""
        reference = self._fitted(window, facts, ())
        missing = list(reference.encoder.missing(rows))
        if len(missing) == len(reference.encoder.texts):
            return None, missing
        return self._fitted(window, facts, missing) if missing else reference, missing

    def _fitted(
        self, baseline: Window | Mapping[str, pl.DataFrame], facts: Mapping[str, Any], missing: Sequence[str]
    ) -> Reference:
        """A reference fitted on the trusted rows without the missing columns. The last few are cached."""
        key = (facts["digest"], *missing)
        if key not in self._references:
            stored = facts.get("nulls", {}) if not missing else {}
            nulls = Nulls.from_dict(stored) if "groups" in stored else None
            while len(self._references) >= _KEPT:
                del self._references[next(iter(self._references))]
            rows = label_rows.frames_of(baseline)[facts["frame"]]
            features, place = rows.drop(LABEL, PLACE), rows[PLACE].to_numpy().astype(np.intp)
            labels = canonical_labels(rows[LABEL])  # those of 0.2 may be spelled otherwise
            self._references[key] = Reference.of(features, labels, place, self.params.share, nulls, missing)
        return self._references[key]
