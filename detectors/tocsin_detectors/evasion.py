"""A principal tries variants of one input, as an attack does that looks for one with the answer that it wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import polars as pl

from tocsin import (
    Baseline,
    Detector,
    Early,
    Family,
    Requires,
    Score,
    Stability,
    Subject,
    Tail,
    Window,
    param,
)
from tocsin_detectors._calls_by_principal import highest, parts
from tocsin_detectors._honest_queries import (
    MODEL,
    STREAM,
    USER,
    as_events,
    distinct,
    sampled,
)
from tocsin_detectors._input_variants import KnownInputs, OfPrincipal
from tocsin_detectors._reached import is_reached
from tocsin_detectors._spelling import canonical
from tocsin_detectors._unjudged_queries import earliest
from tocsin_detectors._variants_evidence import evidence_of, reason_of, words_of

#: A baseline with more calls is fitted on a sample of its principals.
_BASELINE_CALLS = 200_000


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `evasion`."""

    min_queries: int = param(20, ge=2, doc="a principal with fewer queries to a model is not judged")


class Evasion(Detector[Params]):
    """A principal tries variants of one input, as an attack does that looks for one with the answer that it wants.

    What it sees
        Of each principal's different queries to a model in the window, the largest set of variants of one input:
        queries that agree in many features, or that differ slightly in all of them. It does not matter how many other
        queries are between them. The evidence says which features vary, and when the answer changed.
    Method
        Locality-sensitive hashing (Indyk and Motwani 1998), as in Blacklight (Li et al. 2022). Each of 24 hashes has a
        random set of at most half of the features. Values are compared by 16 or 4 intervals of their ranks among at most
        10,000 known queries, with another start for each hash. The queries with one hash are variants. Their number is
        divided by the number that the frequency of the hash among known queries explains. The score is the logarithm of
        the quotient, in multiples of what is typical of the principal's other queries: nine in ten of them are in smaller
        sets. What is typical is at most that of the known principal with the largest sets. From the score of a known
        principal, its usual score beyond that of others is subtracted, up to a factor of 8. Repeated queries count once,
        all spellings of a principal's name are one principal, and feature vectors are aligned with the baseline by
        feature name or by place. Early evaluations judge a principal with up to 500 calls in each round, and
        then when its calls have quadrupled. The cost grows linearly with the number of calls.
    Blind spots
        Variants that are spread over principals or days; an input that is changed in more than half of its features
        between two queries; random noise in all features at once; an attack with a copied model that sends only the
        result. If most queries of a principal are variants of some inputs, a few dozen of each look like the habit of
        a client who tries many variants. Of a principal with more than 500,000 calls, a sample is judged. Calls that
        cannot be compared with the baseline are reported by `model_extraction`.
    False alarms
        A new client who tries many variants of one application; a simulation; a client that adds a counter or a time
        to its queries. From the next baseline on, this number is usual for the principal.
    Respond
        Read the variants and their answers in the evidence. If the answer changed, find the decision that was made on
        the last variant, and stop it. Ask which of the changed fields the applicant can prove.
    """

    id = "evasion"
    requires = Requires(STREAM, window="1d", baseline="28d", history="7d", shortest="3d")
    atlas = ("AML.T0015", "AML.T0043.001")
    playbook = "model-evasion"
    family = Family.USAGE
    stability = Stability.EXPERIMENTAL
    #: Three times as many variants as of the principal's other queries.
    floor = 1.1
    tail = Tail.EXPONENTIAL
    #: All calls of a principal are compared, so a large one is judged seldom before the window ends.
    early = Early(by=USER, growth=4.0)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._read: WeakKeyDictionary[Baseline, list[tuple[str, KnownInputs]]] = WeakKeyDictionary()

    def split(self, window: Window) -> tuple[Window, Window]:
        """The earlier half to fit on, the later half to calibrate on, of a sample of principals if there are many calls."""
        calls = as_events(distinct(window, self.requires.window, sampled(window, _BASELINE_CALLS)))
        return window.with_rows({STREAM: calls}).split(0.5)

    def fit(self, window: Window) -> Baseline | None:
        calls = distinct(window, self.requires.window).partition_by(MODEL, as_dict=True)
        found = [
            known.frames(model)
            for (model,), of_model in calls.items()
            if (known := KnownInputs.fit(of_model))
        ]
        if not found:
            return None
        return Baseline({name: pl.concat([frames[name] for frames in found]) for name in found[0]})

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        if window.baseline not in self._read:
            self._read[window.baseline] = list(KnownInputs.read(window.baseline))
        yield from highest(self._scores(window, self._read[window.baseline]))

    def _scores(self, window: Window, models: list[tuple[str, KnownInputs]]) -> Iterator[Score]:
        for calls in parts(window, self.params.min_queries):
            for model, known in models:
                for one in known.largest(calls.filter(pl.col("of") == canonical(model))):
                    yield _score(one, model, known, window)


def _score(one: OfPrincipal, model: str, known: KnownInputs, window: Window) -> Score:
    """The score of a principal. What only a reader of a finding needs is left out of other scores, because it takes long."""
    user = earliest(one.calls["spelling"])
    variants = one.calls[one.family.rows]
    score = Score(Subject("principal", user), one.score, words_of(user, model, len(variants)))
    if not is_reached(window, score):
        return score
    evidence = evidence_of(model, one, variants, known.shape)
    return replace(score, reason=reason_of(user, model, variants), evidence=evidence)
