"""Model behavior: what models answer, how sure they are and how fast, and what they are asked about."""

from __future__ import annotations

from tocsin.contract.findings import Family
from tocsin_dashboards.asking import AUTO, STEP, ask, count, percentiles, ranges, terms
from tocsin_dashboards.kinds import BEHAVIOR, MODEL, heat, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import answers, classes, family_alerts, scores
from tocsin_dashboards.tables import listing

_CALLS = "tocsin.model.name:$model"
_ABOUT = "tocsin.subject.id:$model"
_ONE = to(MODEL, "Everything about a model")


def build() -> Board:
    """The board."""
    board = Board(
        BEHAVIOR,
        "Tocsin: model behavior",
        "The answers, confidence and latency of models, and the features of their inputs.",
        ["model", "severity", "place", "step"],
        "now-30d",
        filtered="inference",
    )
    for row in (_alerts, _scores, _answers, _questions, _service):
        row(board)
    return board


def _alerts(board: Board) -> None:
    family_alerts(
        board,
        Family.MODEL_BEHAVIOR,
        "Alerts about models",
        _ABOUT,
        "If a shift begins at a deployment (blue line), the new release is the likely cause. Otherwise, the cause is the data or an attack.",
    )


def _scores(board: Board) -> None:
    board.row("Scores", (12, scores("prediction_drift", _ABOUT)), (12, scores("feature_drift", _ABOUT)))


def _answers(board: Board) -> None:
    board.row(
        "Answers",
        (
            8,
            answers(_CALLS, _ONE),
        ),
        (
            8,
            heat(
                "Distribution of confidence",
                "The distribution of the model's confidence. If it moves down, the model gets inputs unlike its training data. Compare with the features and with the principals that call the model.",
                ask(
                    "inference",
                    _CALLS,
                    [count()],
                    [ranges("tocsin.output.confidence", 0, 1, 0.05)],
                    over=STEP,
                ),
                _ONE,
                unit="percentunit",
            ),
        ),
        (
            8,
            classes(_CALLS, _ONE),
        ),
    )


def _questions(board: Board) -> None:
    board.row(
        "Questions",
        (
            12,
            lines(
                "The feature at the chosen place",
                "The 5 % to 95 % quantiles of the feature at the place that is chosen above. The table to the right shows the feature's name. If all lines move together, the population has changed. If a single line jumps, suspect a wrong unit or forged rows.",
                [
                    ask(
                        "inference",
                        _CALLS,
                        [percentiles("tocsin.features.slot.$place", 5, 25, 50, 75, 95)],
                        over=AUTO,
                    )
                ],
                _ONE,
                unit="none",
            ),
        ),
        (
            12,
            listing(
                "Names of the feature vector's places",
                "The names of the features in the order of their places in the vector. The first place is 000. If a model has two lists, two versions of the client call it.",
                ask(
                    "inference",
                    _CALLS,
                    [count()],
                    [terms("tocsin.model.name", 50), terms("tocsin.features.names", 5)],
                ),
                _ONE,
                columns={"tocsin.model.name": "model", "tocsin.features.names": "names", "Count": "calls"},
            ),
        ),
    )


def _service(board: Board) -> None:
    board.row(
        "Service",
        (
            8,
            lines(
                "Calls by model",
                "The number of calls by model. A jump without a release suggests a client that calls in a loop or copies the model: see the board usage and extraction.",
                [
                    ask(
                        "inference",
                        _CALLS,
                        [count()],
                        [terms("tocsin.model.name", 10)],
                        over=AUTO,
                        alias="{{term tocsin.model.name}}",
                    )
                ],
                _ONE,
            ),
        ),
        (
            8,
            lines(
                "Latency",
                "The median, 95 % and 99 % quantiles of the time of a call. If only the high quantiles rise, check the size of the inputs and other programs on the machine.",
                [ask("inference", _CALLS, [percentiles("event.duration", 50, 95, 99)], over=AUTO)],
                _ONE,
                unit="ns",
            ),
        ),
        (
            8,
            lines(
                "Calls by version",
                "The number of calls by model version. If two versions run at once without a rollout, or an old version returns, find out who changed the registry and why.",
                [
                    ask(
                        "inference",
                        _CALLS,
                        [count()],
                        [terms("tocsin.model.version", 10)],
                        over=STEP,
                        alias="version {{term tocsin.model.version}}",
                    )
                ],
                _ONE,
                stacked=True,
            ),
        ),
    )
