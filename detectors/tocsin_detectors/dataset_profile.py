"""A dataset snapshot differs from the snapshots before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tocsin import Detector, Early, Requires, Score, Stability, Subject, Window, not_judged, param
from tocsin.contract.findings import Family, Json
from tocsin.stats.departure import critical, departure
from tocsin.words import count, figure, listed, sentence, short
from tocsin_detectors._dataset_aspects import changes, chosen, new_datasets, sampled, unreadable, usual_label
from tocsin_detectors._dataset_history import DIGEST, LABEL_COLUMN, OUTCOME, SOURCE, Event, History, Past
from tocsin_detectors._label_spelling import new_spellings
from tocsin_detectors._profiles import (
    DISTINCT,
    DISTINCT_SHARE,
    LABEL,
    ROWS,
    Name,
    Profile,
    comparisons,
    in_one_spelling,
    profile_of,
    schema_change,
)

_MOST = 100.0  # the largest score: larger values carry no more information
_SHOWN = 10  # departures named in the evidence
_NAMED = 3  # columns named in the sentence
_WIDTH = 24  # characters of a column, a value or a writer in the sentence
_SCHEMA = {"added": 1.0, "removed": 1.5, "retyped": 1.5}
_UNIQUE = 0.9  # with at least this share of distinct values, a column counts as free of duplicates
_CACHED = 500  # profiles of a dataset in memory
_NEW = 1000  # new names of each source that are judged in a window
_MOST_SNAPSHOTS = 2000  # snapshots of a dataset that are judged in a window
_STRANGER = 1.25  # factor on the score if the writer never wrote this dataset before


class _Departed(NamedTuple):
    score: float
    name: Name
    now: float
    usual: float


class _Profiles:
    """Profiles of events, each read once. `label` is the usual label column of the dataset."""

    def __init__(self, label: str | None) -> None:
        self._label, self._known = label, dict[int, tuple[Event, Profile]]()

    def of(self, event: Event) -> Profile:
        """The profile of an event."""
        if id(event) not in self._known:
            while len(self._known) >= _CACHED:
                del self._known[next(iter(self._known))]
            self._known[id(event)] = (event, profile_of(event, self._label))
        return self._known[id(event)][1]


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `dataset_profile`."""

    false_alarms: float = param(
        0.01, ge=1e-6, le=0.2, doc="target share of normal snapshots that raise an alert, over all figures"
    )
    min_history: int = param(8, ge=4, doc="a snapshot with fewer earlier snapshots is not judged")
    max_history: int = param(30, ge=4, doc="maximum number of earlier snapshots to compare with")


class DatasetProfile(Detector[Params]):
    """The volume, columns, values or labels of a dataset snapshot depart from those of the snapshots before it.

    What it sees
        More or fewer rows; missing values; new, lost or duplicated values; changed means and spreads, for
        instance after a change of unit; changed shares of values and of labels; columns that were added,
        removed or have another type. If the writer never wrote the dataset before, the score is multiplied by
        1.25. These cause separate findings: a snapshot that cannot be read, a new dataset of a known source, a
        change of the label column, of the form of the files or of the source, a new spelling of a known label, and
        a sidecar (a file in which the producer describes a dataset file) that contradicts the settings.
    Method
        The detector compares each figure of the profile (partition summaries, Shankar et al. 2023) with its
        median over up to 30 earlier snapshots, and divides the difference by the figure's standard error. The
        standard error combines the sampling error with the variation of the earlier snapshots that sampling
        error does not explain, without the most extreme tenth of the snapshots. If this variation is
        estimated from few snapshots only, the critical value is larger (Student's t, degrees of freedom after
        Satterthwaite 1946). The target rate of false alarms is split equally between rows, labels and columns,
        and within each group between all figures (Bonferroni). The score is the largest ratio of a figure's
        deviation to its critical value.
    Blind spots
        Changes that do not change any figure of a column, such as labels that are swapped between rows (see
        `label_poisoning`); slow changes, because the history soon contains them; a single extreme value; the
        first snapshots of a dataset, unless its source has another dataset with similar columns: the detector
        then compares the new dataset with the other one.

        Cost: linear in the snapshots of window and history, and in their columns. In a window, the detector
        judges at most 2,000 snapshots of a dataset (evenly spaced) and 1,000 new names of a source. A finding
        states how many it did not judge.
    False alarms
        A real change: a new product, a campaign, a migration of the source; a day of the week that the history
        does not contain. These alarms end when the history contains enough snapshots after the change.
    Respond
        Ask the writer what changed. Compare the columns that the evidence names with the last good snapshot. Do
        not train on this snapshot until the change is explained.
    """

    id = "dataset_profile"
    requires = Requires("dataset", window="1d", history="365d")
    atlas = ("AML.T0059", "AML.T0020")
    playbook = "training-data-poisoning"
    early = Early(by="tocsin.dataset.name", grows=True, whole=True, growth=1)
    family = Family.DATA_INTEGRITY
    stability = Stability.BETA
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        history = History(window, self.requires.history, self.params.max_history)
        likes: dict[str, str] = {}
        for names in (history.names, chosen(history.others, _NEW)):
            for name, events, past in history.judged([name for name in names if _is_changed(name, window)]):
                subject = Subject("dataset", name)
                known = any(event[SOURCE] in history.sources for event in events)
                yield from unreadable(subject, events, past, known=known)
                readable = [event for event in events if event[OUTCOME] != "failure"]
                if readable:
                    earlier = self._past(history, name, readable[0], past)
                    likes[name] = earlier.like
                    yield from self._dataset(subject, readable, earlier)
        yield from (score for score in new_datasets(history, likes) if _is_changed(score.subject.id, window))

    def _past(self, history: History, name: str, event: Event, past: Past) -> Past:
        """The history of a dataset, together with that of the dataset that it resembles as long as it is short."""
        if len(past.digests) >= self.params.min_history:
            return past
        like = history.like(name, event)
        if like is None:
            return past
        for own in past.all:
            like.add(own)
        return like

    def _dataset(self, subject: Subject, events: Sequence[Event], past: Past) -> Iterator[Score]:
        """The worst score of the snapshots of one dataset, and what changed in their form."""
        before, label = past.all, usual_label(past.all)
        judged = sampled(events, _MOST_SNAPSHOTS)
        profiles = _Profiles(label)
        scores = []
        for event in judged:
            scores.append(self._judge(subject, event, past, profiles))
            past.add(event)
        yield max(scores, key=lambda score: score.value)
        yield from changes(subject, events, before)
        known = [profiles.of(event).labels for event in before[-self.params.max_history :]]
        yield from new_spellings(subject, known, {word for e in judged for word in profiles.of(e).labels})
        if len(judged) < len(events):
            more = len(events) - len(judged)
            yield not_judged(
                subject, "more snapshots", f"{count(more, 'more snapshot')} of {short(subject.id)}", more
            )

    def _judge(self, subject: Subject, event: Event, earlier: Past, profiles: _Profiles) -> Score:
        digest, writer, source = event[DIGEST], event["user.id"], event[SOURCE]
        if (digest, source, event[LABEL_COLUMN]) in earlier.seen:
            words = f"{short(subject.id)}: the content is that of an earlier snapshot"
            return Score(subject, 0.0, words, {"snapshot": digest})
        if len(earlier.digests - {digest}) < self.params.min_history:
            known = count(len(earlier.digests), "earlier snapshot")
            words = f"{short(subject.id)} was not judged: {known}, {self.params.min_history} are needed"
            return Score(subject, 0.0, words, {"snapshot": digest})
        now = profiles.of(event)
        snapshots = [e for e in earlier.of(source, self.params.min_history) if e[DIGEST] != digest]
        past = [profiles.of(other) for other in snapshots[-self.params.max_history :]]
        now, past = in_one_spelling(now, past)
        departed = self._departures(now, past)
        schema = schema_change(now, past)
        stranger = writer is not None and writer not in earlier.writers
        value = max([*(d.score for d in departed[:1]), *(_SCHEMA[how] for how in schema)], default=0.0)
        value = max(_STRANGER * value, 0.5) if stranger else value
        evidence: dict[str, Json] = {
            "snapshot": digest,
            "writer": writer,
            "writer_is_new": stranger,
            "schema": {how: list(columns) for how, columns in schema.items()},
            "earlier_snapshots": len(past),
            "departures": [
                {"figure": str(d.name), "now": d.now, "usual": d.usual, "score": round(d.score, 3)}
                for d in departed[:_SHOWN]
            ],
        }
        if earlier.like:
            evidence["compared_with"] = earlier.like
        reason = f"{short(subject.id)}: the snapshot is like the {count(len(past), 'snapshot')} before it"
        if value >= self.threshold:
            reason = _reason(subject.id, departed, schema, writer if stranger else None)
        return Score(subject, min(value, _MOST), reason, evidence)

    def _departures(self, now: Profile, past: Sequence[Profile]) -> list[_Departed]:
        """The departure of every figure that enough earlier snapshots contain, the largest first."""
        known = [c for c in comparisons(now, past) if len(c[2]) >= self.params.min_history]
        sizes: dict[str, int] = {}
        for name, _, _ in known:
            sizes[_group(name)] = sizes.get(_group(name), 0) + 1
        found: dict[Name, _Departed] = {}
        for name, now_figure, earlier in known:
            z, freedom, usual = departure(now_figure, earlier)
            alpha = self.params.false_alarms / 3 / sizes[_group(name)]
            found[name] = _Departed(min(z / critical(freedom, alpha), _MOST), name, now_figure.shown, usual)
        for name in [name for name in found if name.measure == DISTINCT]:
            # A change of volume alone changes only one of the two figures, so the smaller departure is used.
            # If values are unique, it does not change the distinct values a row: only that figure is used.
            per_row = found.pop(Name(name.column, DISTINCT_SHARE))
            found[name] = per_row if per_row.usual >= _UNIQUE else min(found[name], per_row)
        return sorted(found.values(), key=lambda d: (-d.score, d.name))


def _is_changed(name: str, window: Window) -> bool:
    return window.changed is None or name in window.changed


def _group(name: Name) -> str:
    return name.measure if name.measure in (ROWS, LABEL) else "columns"


def _reason(
    name: str, departed: Sequence[_Departed], schema: Mapping[str, Sequence[str]], stranger: str | None
) -> str:
    words = [
        f"{'column' if len(columns) == 1 else 'columns'} {how}: "
        f"{listed([short(column, _WIDTH) for column in columns], _NAMED)}"
        for how, columns in schema.items()
    ]
    if departed and (departed[0].score >= 1 or not words):
        words.append(_departure(departed[0]))
    more = sum(d.score >= 1 for d in departed[1:])
    words += [f"{count(more, 'more figure')} out of range"] if more else []
    words += [f"written by {short(stranger, _WIDTH)}, a new writer"] if stranger else []
    return sentence([f"{short(name)}: {words[0]}", *words[1:]])


def _departure(departed: _Departed) -> str:
    column, measure, value = departed.name
    now, usual = figure(departed.now), f"usually {figure(departed.usual)}"
    if measure == ROWS:
        return f"it has {count(round(departed.now), 'row')}, {usual}"
    if measure == DISTINCT:
        return f"{short(column, _WIDTH)} has {count(round(departed.now), 'distinct value')}, {usual}"
    if measure == DISTINCT_SHARE:
        return f"{short(column, _WIDTH)} has {now} distinct values a row, {usual}"
    return f"{Name(short(column, _WIDTH), measure, short(value, _WIDTH))} is {now}, {usual}"
