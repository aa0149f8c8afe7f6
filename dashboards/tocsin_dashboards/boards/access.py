"""Registry and data access: who accessed which resource, when and from where, and whether that is usual."""

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
        "Who accessed which resource, when and from where, and whether that is usual for the principal.",
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
        "The column what was seen names the unusual part: a new pair, address or program, an unusual hour or volume.",
    )


def _who_and_what(board: Board) -> None:
    board.row(
        "Who and what",
        (
            24,
            matrix(
                "Who touched what",
                "The number of accesses by principal and resource. A principal with values in almost every column may be copying everything. The table shows the 25 resources with the most accesses. For rarely used resources, see the table of first accesses below.",
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
                "The number of accesses in each hour, or in longer steps if the time range is long. New bars at night or on weekends are accesses outside working hours. The table below shows the principals.",
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
                "The size of the responses, by principal. A copy of the registry's models shows as a peak. Treat a peak without a release as exfiltration until its cause is known.",
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
                "When each principal first accessed each resource within this time range, and the number of accesses since then. The newest pairs come first. New pairs are part of the score of registry_access.",
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
                "The number of accesses by outcome. An increasing number of failures suggests that a user tries permissions. If a success follows many failures, check which access succeeded.",
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
                "The numbers of addresses and client programs of each principal. If a person has a second program or a new address, treat the credential as stolen until that person confirms the access.",
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
