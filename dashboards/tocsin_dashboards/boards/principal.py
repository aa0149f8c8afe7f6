"""One principal: everything that a person, a service account or a key did."""

from __future__ import annotations

from tocsin_dashboards.asking import AUTO, STEP, ask, count, highest, lowest, raw, terms
from tocsin_dashboards.kinds import ACCESS, DATASETS, OVERVIEW, PRINCIPAL, USAGE, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import alert_table, history
from tocsin_dashboards.tables import listing

_BY = 'user.id:"${principal}"'
_ABOUT = 'tocsin.subject.id:"${principal}"'
_UP, _USAGE, _ACCESS = (
    to(OVERVIEW, "SOC overview"),
    to(USAGE, "Usage and extraction"),
    to(ACCESS, "Registry and data access"),
)


def build() -> Board:
    """The board."""
    board = Board(
        PRINCIPAL,
        "Tocsin: one principal",
        "Everything that a person, a service account or a key did: alerts, calls, accesses, addresses.",
        ["one_principal", "step"],
        "now-30d",
        filtered="access",
    )
    for row in (_alerts, _what_it_does, _from_where_with_what, _details):
        row(board)
    return board


def _alerts(board: Board) -> None:
    board.row(
        "Alerts",
        (24, alert_table("Alerts about this principal", _ABOUT)),
        (
            24,
            lines(
                "Scores of every detector about it",
                "The score of this principal by detector. Each detector has its own scale, so compare shapes and not values. A rise over days suggests an attack at a deliberately slow pace. A jump suggests a short attack.",
                [
                    ask(
                        "score",
                        _ABOUT,
                        [highest("tocsin.score")],
                        [terms("tocsin.detector.id", 10)],
                        over=STEP,
                        alias="{{term tocsin.detector.id}}",
                    )
                ],
                _UP,
                unit="none",
            ),
        ),
    )


def _what_it_does(board: Board) -> None:
    board.row(
        "What it does",
        (
            12,
            lines(
                "Calls by model",
                "The number of calls by model. Compare it with the contract or role of the principal, and with the month before.",
                [
                    ask(
                        "inference",
                        _BY,
                        [count()],
                        [terms("tocsin.model.name", 10)],
                        over=AUTO,
                        alias="{{term tocsin.model.name}}",
                    )
                ],
                _USAGE,
                stacked=True,
            ),
        ),
        (
            12,
            lines(
                "Accesses by action",
                "The principal's accesses to registries and stores. If it is active at hours at which it was never active before, ask the owner.",
                [
                    ask(
                        "access",
                        _BY,
                        [count()],
                        [terms("event.action", 10)],
                        over=AUTO,
                        alias="{{term event.action}}",
                    )
                ],
                _ACCESS,
                at_least="1h",
                stacked=True,
            ),
        ),
    )


def _from_where_with_what(board: Board) -> None:
    board.row(
        "From where, with what",
        (
            8,
            listing(
                "Addresses",
                "The addresses of the principal, and the first access from each in this time range. If an address is in another country or at another provider, ask the owner over another channel.",
                ask("access", _BY, [lowest("@timestamp"), count()], [terms("source.ip", 50)]),
                _ACCESS,
                columns={"source.ip": "address", "Min": "first seen", "Count": "accesses"},
                units={"first seen": "dateTimeAsIso"},
            ),
        ),
        (
            8,
            listing(
                "Client programs",
                "The client programs of the principal. If the account of a person is used by a script, it may be shared or stolen.",
                ask("access", _BY, [lowest("@timestamp"), count()], [terms("user_agent.original", 50)]),
                _ACCESS,
                columns={"user_agent.original": "program", "Min": "first seen", "Count": "accesses"},
                units={"first seen": "dateTimeAsIso"},
            ),
        ),
        (
            8,
            listing(
                "Datasets that it wrote",
                "The datasets that the principal wrote. If the principal is compromised, quarantine their snapshots.",
                ask("dataset", _BY, [count()], [terms("tocsin.dataset.name", 50)]),
                to(DATASETS, "Data integrity"),
                columns={"tocsin.dataset.name": "dataset", "Count": "snapshots"},
            ),
        ),
    )


def _details(board: Board) -> None:
    board.row(
        "Details",
        (
            24,
            listing(
                "Accesses, newest first",
                "Every access in this time range. Start at the first unusual access: which resources did the principal list, read and download after it?",
                ask("access", _BY, [raw(500)]),
                _ACCESS,
                only=True,
                columns={
                    "@timestamp": "when",
                    "event.action": "action",
                    "tocsin.resource.id": "resource",
                    "tocsin.resource.version": "version",
                    "event.outcome": "state",
                    "source.ip": "address",
                    "user_agent.original": "program",
                },
            ),
        ),
        (24, history(_ABOUT)),
        height=10,
    )
