"""What an estimator returned, as one answer a row.

Runs in the recorder's thread inside model servers. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tocsin_recorder.values import copied, listed


class Answer(NamedTuple):
    """The model's output for one row."""

    label: object = None
    score: object = None
    confidence: object = None


def size_of(output: Any) -> int:
    """The number of rows of an output of unknown input; one if the output does not say."""
    shape = getattr(output, "shape", None)
    return int(shape[0]) if shape else len(output) if isinstance(output, (list, tuple)) else 1


def copied_output(output: Any, count: int) -> Any:
    """A copy of the first answers, which later code cannot change; None if they cannot be copied."""
    if not hasattr(output, "__getitem__") or isinstance(output, (str, bytes, Mapping)):
        return None
    if isinstance(output, tuple) and output and hasattr(output[0], "shape"):
        output = output[0]  # `predict(…, return_std=True)`: the predictions stand first
    if _several(output, 1):
        return [copied(part, count) for part in output]
    return copied(output, count)


def answers(output: Any, classes: Any, size: int, probable: bool) -> Iterator[Answer]:
    """The answers of the first `size` rows.

    The probabilities of several outputs are a list of matrices. Their answer is the list of the most probable
    classes, as `predict` returns it, with the least of their probabilities as its confidence.
    """
    if output is None:
        return
    labels = None if classes is None else listed(classes)
    if probable and _several(output, size):
        names = [listed(part) for part in labels or ()]
        for row in zip(*(listed(part) for part in output)):
            best = [probabilities.index(max(probabilities)) for probabilities in row]
            chosen = [names[i][place] if i < len(names) else place for i, place in enumerate(best)]
            yield Answer(chosen, None, min(row[i][place] for i, place in enumerate(best)))
        return
    for value in listed(output):
        yield _answer(value, labels, probable)


def _answer(value: Any, labels: Sequence[Any] | None, probable: bool) -> Answer:
    if probable and labels and isinstance(value, (list, tuple)) and len(value) == len(labels):
        best = value.index(max(value))
        return Answer(labels[best], value[1] if len(value) == 2 else value[best], value[best])
    if labels is None and isinstance(value, (int, float)):
        return Answer(score=value)
    return Answer(label=value)


def _several(output: Any, size: int) -> bool:
    """Whether an output is a list of matrices, one for each output of the model."""
    return (
        isinstance(output, list)
        and bool(output)
        and size > 0
        and all(len(getattr(part, "shape", ())) == 2 for part in output)
    )
