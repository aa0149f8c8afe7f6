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
        "What models answer, how sure they are and how fast, and what they are asked about.",
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
        "A shift that begins with a deployment (blue line) is a release; one that does not is data or an attack.",
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
                "Mass that moves down means that the model is asked about what it has not learned: compare with the features, and with who asks.",
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
                "Its 5th to 95th percentile. Choose the place above; its name is in the table beside this. Lines that move together are a new population; one that jumps alone is a broken unit or forged rows.",
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
                "The order of the names is the order of the places, counted from 000. Two lists for one model mean that two versions of the client ask it.",
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
                "Calls an hour or a day. A jump without a release is a client that loops, or one that copies: see usage and extraction.",
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
                "Median and the slowest twentieth and hundredth. If only the slow ones rise, look at the input's size and at the neighbors on the machine.",
                [ask("inference", _CALLS, [percentiles("event.duration", 50, 95, 99)], over=AUTO)],
                _ONE,
                unit="ns",
            ),
        ),
        (
            8,
            lines(
                "Calls by version",
                "Which version answers. Two at once outside a rollout, or an old one that comes back, is a change in the registry that somebody should be able to explain.",
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
