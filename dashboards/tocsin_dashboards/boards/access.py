"""Registry and data access: who touched what, when, from where, and whether that is usual for them."""

from __future__ import annotations

from tocsin.contract.findings import Family
from tocsin_dashboards.asking import AUTO, STEP, ask, count, lowest, terms, total, unique
from tocsin_dashboards.kinds import ACCESS, PRINCIPAL, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import family_alerts, scores
from tocsin_dashboards.tables import listing, matrix

_BY = "user.id:$principal"
_ONE = to(PRINCIPAL, "Everything about a principal")


def build() -> Board:
    """The board."""
    board = Board(
        ACCESS,
        "Tocsin: registry and data access",
        "Who touched what, when, from where, and whether that is usual for them.",
        ["accessor", "severity", "step"],
        "now-30d",
        filtered="access",
    )
    for row in (_alerts, _who_and_what, _habits, _new_pairs_and_refusals):
        row(board)
    return board


def _alerts(board: Board) -> None:
    family_alerts(
        board,
        Family.ACCESS,
        "Alerts about who accessed what",
        "tocsin.subject.id:$principal",
        "What was seen names what was new: pair, address, program, hour or volume.",
    )


def _who_and_what(board: Board) -> None:
    board.row(
        "Who and what",
        (
            24,
            matrix(
                "Who touched what",
                "Accesses by principal and resource. A row that fills from left to right is somebody who takes everything. What is rarely touched is not among these 25 resources: see the new pairs below.",
                ask("access", _BY, [count()], [terms("user.id", 50), terms("tocsin.resource.id", 25)]),
                _ONE,
                row="user.id",
                column="tocsin.resource.id",
            ),
        ),
        height=11,
    )


def _habits(board: Board) -> None:
    board.row(
        "Habits",
        (
            8,
            lines(
                "Accesses by hour",
                "Bars of an hour, of more where the time is long. Bars in the night or at the weekend, where there were none, are off-hours use: see whose they are in the table below.",
                [
                    ask(
                        "access",
                        _BY,
                        [count()],
                        [terms("event.action", 8)],
                        over=AUTO,
                        alias="{{term event.action}}",
                    )
                ],
                _ONE,
                at_least="1h",
                stacked=True,
            ),
        ),
        (8, scores("registry_access", "tocsin.subject.id:$principal")),
        (
            8,
            lines(
                "Bytes read",
                "Bytes of the answers, by principal. The registry leaves the house as bytes: a peak without a release is an exfiltration until somebody explains it.",
                [
                    ask(
                        "access",
                        _BY,
                        [total("http.response.bytes")],
                        [terms("user.id", 8, "1")],
                        over=STEP,
                        alias="{{term user.id}}",
                    )
                ],
                _ONE,
                unit="bytes",
                stacked=True,
            ),
        ),
    )


def _new_pairs_and_refusals(board: Board) -> None:
    board.row(
        "New pairs and refusals",
        (
            12,
            listing(
                "Pairs by when they were first seen in this time",
                "Who touched what for the first time, when, and how often since: the newest pairs first, which are what registry_access judges.",
                ask(
                    "access",
                    _BY,
                    [lowest("@timestamp"), count()],
                    [
                        terms("user.id", 50, "1"),
                        terms("tocsin.resource.id", 100, "1"),
                        terms("event.action", 5),
                    ],
                ),
                _ONE,
                columns={
                    "user.id": "principal",
                    "tocsin.resource.id": "resource",
                    "event.action": "action",
                    "Min": "first seen",
                    "Count": "times",
                },
                units={"first seen": "dateTimeAsIso"},
                newest="first seen",
            ),
        ),
        (
            6,
            lines(
                "Outcomes",
                "Refusals that grow are somebody who tries doors. A success after many refusals is a door that opened.",
                [
                    ask(
                        "access",
                        _BY,
                        [count()],
                        [terms("event.outcome", 3)],
                        over=STEP,
                        alias="{{term event.outcome}}",
                    )
                ],
                _ONE,
                stacked=True,
            ),
        ),
        (
            6,
            listing(
                "Addresses and programs",
                "From where and with what each principal comes. A second program or a new address for a person is a stolen credential until they say otherwise.",
                ask(
                    "access",
                    _BY,
                    [unique("source.ip"), unique("user_agent.original")],
                    [terms("user.id", 50)],
                ),
                _ONE,
                columns={
                    "user.id": "principal",
                    "Unique Count source.ip": "addresses",
                    "Unique Count user_agent.original": "programs",
                },
            ),
        ),
    )
