"""New spellings of known class labels: `Good` and `good` with a zero-width space, where the label is `good`.

Labels are counted under the spelling that is known, so that a change of spelling does not hide a change of labels. Two
labels that both are classes (A and a) stay apart, and no other spelling is counted under either of them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import polars as pl

from tocsin.contract.aspects import changed
from tocsin.contract.findings import Json, Score, Subject
from tocsin.datasets.labels import canonical_label
from tocsin.words import count, short
from tocsin_detectors._spelling import canonical

_VALUE = 1.5  # severity `medium`
_USUAL = 2  # earlier snapshots with a spelling from which it is usual
_SHOWN = 20  # spellings in the evidence
_WIDTH = 24  # characters of a label in the sentence


@functools.lru_cache(maxsize=65_536)
def _form(label: str) -> str:
    return canonical_label(canonical(label))


def onto_known(labels: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Each new spelling with the known label that it is a spelling of, if this is exactly one label."""
    wanted = set(known)
    of_form: dict[str, list[str]] = {}
    for label in wanted:
        of_form.setdefault(_form(label), []).append(label)
    new = {label: _form(label) for label in labels if label not in wanted}
    meant = {label: of_form.get(form, []) for label, form in new.items() if form}
    return {label: alike[0] for label, alike in meant.items() if len(alike) == 1}


def main_spellings(snapshots: Sequence[Collection[str]]) -> dict[str, str]:
    """Each rarer spelling of a label with the commonest one.

    Labels of one form are classes of their own if one of them is in at least half of the snapshots of the commonest.

    Args:
        snapshots: the different labels of each snapshot.
    """
    times = Counter(label for labels in snapshots for label in set(labels))
    of_form: dict[str, list[str]] = {}
    for label in sorted(times, key=lambda label: (-times[label], label)):
        of_form.setdefault(_form(label), []).append(label)
    words: dict[str, str] = {}
    for form, (main, *others) in of_form.items():
        together = Counter(o for labels in snapshots if main in labels for o in others if o in labels)
        if form and all(2 * together[other] < times[main] for other in others):
            words |= dict.fromkeys(others, main)
    return words


def spellings(past: Sequence[Collection[str]], now: Iterable[str]) -> dict[str, str]:
    """Each spelling in earlier snapshots and in the labels of now that has another name, with this name."""
    words = main_spellings(past)
    known = {label for labels in past for label in labels}
    return words | onto_known(set(now) - known, known - words.keys())


def merged(counts: Mapping[str, int], words: Mapping[str, str]) -> dict[str, int]:
    """Counts by label, with one name for all spellings."""
    found: dict[str, int] = {}
    for label, number in counts.items():
        name = words.get(label, label)
        found[name] = found.get(name, 0) + number
    return found


def in_known_spelling(labels: pl.Series, known: Iterable[str]) -> pl.Series:
    """The labels, each new spelling replaced by the known label. Linear in the rows and in the different labels."""
    words = onto_known(labels.drop_nulls().unique().to_list(), known)
    return labels.replace(words) if words else labels


def new_spellings(subject: Subject, past: Sequence[Collection[str]], now: Iterable[str]) -> Iterator[Score]:
    """A finding if labels have a spelling that fewer than two earlier snapshots have."""
    times = Counter(label for labels in past for label in labels)
    labels = set(now)
    words = {label: name for label, name in spellings(past, labels).items() if label in labels}
    yield from respelled(subject, {label: name for label, name in words.items() if times[label] < _USUAL})


def respelled(subject: Subject, words: Mapping[str, str]) -> Iterator[Score]:
    """A finding about new spellings, if there are any."""
    if words:
        names = sorted(set(words.values()))
        known = repr(short(names[0], _WIDTH)) if len(names) == 1 else count(len(names), "known label")
        reason = f"{short(subject.id)} has {count(len(words), 'new spelling')} of {known}"
        shown: list[Json] = [
            {"label": ascii(label), "known": words[label]} for label in sorted(words)[:_SHOWN]
        ]
        yield changed(subject, "label spelling", reason, _VALUE, {"spellings": len(words), "new": shown})
