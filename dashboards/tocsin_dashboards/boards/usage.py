"""Usage and extraction: how often principals call models, and whose calls look like extraction."""

from __future__ import annotations

from tocsin.contract.findings import Family
from tocsin_dashboards.asking import AUTO, ask, count, highest, terms, unique
from tocsin_dashboards.kinds import PRINCIPAL, USAGE, bars, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import family_alerts, scores
from tocsin_dashboards.tables import listing

_CALLS = "tocsin.model.name:$model AND user.id:$principal"
_ONE = to(PRINCIPAL, "Everything about a principal")


def build() -> Board:
    """The board."""
    board = Board(
        USAGE,
        "Tocsin: usage and extraction",
        "How often each principal calls models, and whose calls look like model extraction.",
        ["model", "caller", "severity", "step"],
        "now-30d",
        filtered="inference",
    )
    for row in (_alerts, _scores, _who_asks, _budgets_and_addresses):
        row(board)
    return board


def _alerts(board: Board) -> None:
    family_alerts(
        board,
        Family.USAGE,
        "Alerts about principals who ask",
        "tocsin.subject.id:$principal",
        "Before you revoke a key, ask its owner. A load test looks like extraction for an hour, but not for days.",
    )


def _scores(board: Board) -> None:
    board.row(
        "Scores",
        (12, scores("model_extraction", "tocsin.subject.id:$principal")),
        (12, scores("query_budget", "tocsin.subject.id:$principal")),
    )


def _who_asks(board: Board) -> None:
    board.row(
        "Who asks",
        (
            8,
            bars(
                "Calls by principal",
                "The principals with the most calls in this time range. Start with a principal that was not at the top in the month before.",
                ask("inference", _CALLS, [count()], [terms("user.id", 15)]),
                _ONE,
                along="user.id",
                named={"user.id": "principal", "Count": "calls"},
            ),
        ),
        (
            16,
            lines(
                "Calls by principal over time",
                "The number of calls by principal. Slow extraction shows as a flat line without pauses, including nights and weekends. People do not call a model like that.",
                [
                    ask(
                        "inference",
                        _CALLS,
                        [count()],
                        [terms("user.id", 10)],
                        over=AUTO,
                        alias="{{term user.id}}",
                    )
                ],
                _ONE,
            ),
        ),
    )


def _budgets_and_addresses(board: Board) -> None:
    board.row(
        "Budgets and addresses",
        (
            12,
            listing(
                "Highest score of each principal",
                "The highest score of each principal and the threshold, by detector. A score at or above the threshold is a finding. If a score is above three quarters of the threshold, talk to the owner of the key.",
                ask(
                    "score",
                    "tocsin.detector.id:(model_extraction OR query_budget) AND tocsin.subject.id:$principal",
                    [highest("tocsin.score"), highest("tocsin.threshold")],
                    [terms("tocsin.subject.id", 100, "1"), terms("tocsin.detector.id", 2)],
                ),
                _ONE,
                columns={
                    "tocsin.subject.id": "principal",
                    "tocsin.detector.id": "detector",
                    "Max tocsin.score": "highest score",
                    "Max tocsin.threshold": "threshold",
                },
                unit="none",
            ),
        ),
        (
            12,
            listing(
                "Addresses and client programs by principal",
                "The numbers of addresses, programs and models of each principal. A key that is used from many addresses may have been shared. Many keys with one address and one program may be one client that hides its number of calls.",
                ask(
                    "inference",
                    _CALLS,
                    [
                        unique("source.ip"),
                        unique("user_agent.original"),
                        unique("tocsin.model.name"),
                        count(),
                    ],
                    [terms("user.id", 100)],
                ),
                _ONE,
                columns={
                    "user.id": "principal",
                    "Unique Count source.ip": "addresses",
                    "Unique Count user_agent.original": "programs",
                    "Unique Count tocsin.model.name": "models",
                    "Count": "calls",
                },
            ),
        ),
    )
