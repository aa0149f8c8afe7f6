"""SOC overview: open alerts and incidents, their severities and subjects, and the coverage of the detectors."""

from __future__ import annotations

from tocsin_dashboards import looks
from tocsin_dashboards.asking import ALPHABET, STEP, ask, count, filters, highest, percentiles, terms, unique
from tocsin_dashboards.kinds import ALERT, DATASETS, HEALTH, INCIDENTS, OVERVIEW, bars, lines, number, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import ACTIVE, ENDED, alert_table, open_alerts
from tocsin_dashboards.tables import listing, matrix

_LOUD = "tocsin.severity:$severity"
_DETECT, _ACKNOWLEDGE = "tocsin.alert.time_to_detect", "tocsin.alert.time_to_acknowledge"
_TO_DETECT = (
    "The time from the subject's newest event that the evaluation had read to the first notification about the alert, as median "
    "or 95 % quantile. The decisive event is not newer, so the time from it is at least as long. If the number rises, see Tocsin's health."
)
_TO_ACKNOWLEDGE = (
    "The time from the first notification about an alert to its acknowledgement, as median or 95 % quantile. If the number rises, "
    "check whether notifications reach the people on call."
)


def build() -> Board:
    """The board."""
    board = Board(
        OVERVIEW,
        "Tocsin: SOC overview",
        "The open alerts and incidents, their severity, and whether every window was evaluated.",
        ["severity", "step"],
    )
    for row in (_now, _alerts, _by_what_and_whom, _mitre_atlas, _coverage):
        row(board)
    return board


def _now(board: Board) -> None:
    board.row(
        "Open alerts by severity, incidents and times",
        *((6, open_alerts(severity)) for severity in ("critical", "high", "medium", "low")),
        (
            8,
            number(
                "Open incidents",
                "The number of incidents that are not closed. Open the board of incidents, and do the next step of the playbook.",
                ask(
                    "incidents",
                    "tocsin.incident.state:(open OR acknowledged)",
                    [count()],
                    [filters({"open": "*"})],
                ),
                to(INCIDENTS, "Incidents and playbooks"),
                steps=((None, looks.GREEN), (1, looks.ORANGE)),
            ),
        ),
        *(
            (width, _duration(title, field, percent, doc))
            for width, title, field, percent, doc in (
                (8, "Time to detect, median", _DETECT, 50, _TO_DETECT),
                (8, "Time to detect, 95 %", _DETECT, 95, _TO_DETECT),
                (12, "Time to acknowledge, median", _ACKNOWLEDGE, 50, _TO_ACKNOWLEDGE),
                (12, "Time to acknowledge, 95 %", _ACKNOWLEDGE, 95, _TO_ACKNOWLEDGE),
            )
        ),
        height=4,
    )


def _alerts(board: Board) -> None:
    board.row("Alerts", (24, alert_table("Alerts active in this time", _LOUD)), height=10)


def _by_what_and_whom(board: Board) -> None:
    board.row(
        "By what and whom",
        (
            8,
            bars(
                "Open alerts by family",
                "The number of open alerts by detector family. Open the dashboard of the family with the longest bar first.",
                ask("alerts", ACTIVE, [count()], [terms("tocsin.detector.family")]),
                to(DATASETS, "Data integrity"),
                along="tocsin.detector.family",
                named={"tocsin.detector.family": "family", "Count": "alerts"},
            ),
        ),
        (
            8,
            listing(
                "Alerts by subject",
                "The principals, models and datasets with the worst alerts. Several alerts about one subject usually have one cause. The worst severity is a number: 4 is critical, 3 high, 2 medium, 1 low.",
                ask(
                    "alerts",
                    _LOUD,
                    [count(), highest("event.severity")],
                    [terms("tocsin.subject.id", 20, "2"), terms("tocsin.subject.type", 1)],
                ),
                to(ALERT, "One alert"),
                columns={
                    "tocsin.subject.id": "subject",
                    "tocsin.subject.type": "kind",
                    "Count": "alerts",
                    "Max": "worst",
                },
            ),
        ),
        (
            8,
            lines(
                "Alerts raised",
                "The number of alerts that were raised, by severity. A single high bar suggests an incident or a release. Constant bars suggest a baseline that no longer fits.",
                [
                    ask(
                        "alert_history",
                        f"event.action:firing AND {_LOUD}",
                        [unique("event.id")],
                        [terms("tocsin.severity")],
                        over=STEP,
                        alias="{{term tocsin.severity}}",
                    )
                ],
                to(INCIDENTS, "Incidents"),
                stacked=True,
            ),
        ),
    )


def _mitre_atlas(board: Board) -> None:
    board.row(
        "MITRE ATLAS",
        (
            14,
            matrix(
                "ATLAS matrix",
                "The number of alerts by technique (row) and tactic (column), as in the ATLAS matrix. A technique that belongs to several tactics is counted under each of them. Several techniques at the same time may belong to one campaign: read the alerts about the same subject together.",
                ask("alerts", _LOUD, [count()], [terms("tocsin.alert.atlas", 200, ALPHABET)]),
                to(ALERT, "One alert"),
                row="technique",
                column="tactic",
                split=("tocsin.alert.atlas", r"/^\d+ (?<tactic>.+) › (?<technique>.+)$/"),
            ),
        ),
        (
            10,
            listing(
                "Time to detect, by family",
                "The median and the 95 % quantile of the time from the newest event that was read to the first notification. Compare them with your target. A family is slow if its detectors wait for the ends of their windows (docs/operator.md), or if its sources send their events late.",
                ask(
                    "alerts",
                    f"{_DETECT}:*",
                    [percentiles(_DETECT, 50, 95), count()],
                    [terms("tocsin.detector.family")],
                ),
                to(HEALTH, "Tocsin's health"),
                columns={
                    "tocsin.detector.family": "family",
                    f"p50.0 {_DETECT}": "median",
                    f"p95.0 {_DETECT}": "95 % quantile",
                    "Count": "alerts",
                },
                units={"median": "s", "95 % quantile": "s"},
            ),
        ),
    )


def _coverage(board: Board) -> None:
    board.row(
        "Coverage",
        (
            16,
            lines(
                "Windows by outcome",
                "The number of attempts to evaluate a window that has ended, by outcome. Windows with the outcome failed or gap were not evaluated, so the absence of an alert proves nothing. See the command tocsin coverage and Tocsin's health.",
                [
                    ask(
                        "run",
                        f"{ENDED} AND NOT tocsin.detector.id:health",
                        [unique("event.id")],
                        [terms("event.action")],
                        over=STEP,
                        alias="{{term event.action}}",
                    )
                ],
                to(HEALTH, "Tocsin's health"),
                stacked=True,
            ),
        ),
        (
            8,
            listing(
                "Windows by detector",
                "The number of windows by detector and outcome, and the most findings in one window. A detector that is missing here is not running.",
                ask(
                    "run",
                    f"{ENDED} AND NOT tocsin.detector.id:health",
                    [unique("tocsin.window.start"), highest("tocsin.run.findings")],
                    [terms("tocsin.detector.id", 100), terms("event.action", 6)],
                ),
                to(HEALTH, "Tocsin's health"),
                columns={
                    "tocsin.detector.id": "detector",
                    "event.action": "state",
                    "Unique Count": "windows",
                    "Max": "most findings",
                },
            ),
        ),
    )


def _duration(title: str, field: str, percent: int, doc: str) -> object:
    # A `filters` bucket would exist without an alert, and Grafana would show its percentile as 0.
    target = ask("alerts", f"{field}:*", [percentiles(field, percent)], [terms("_index", 1)])
    return number(
        title,
        doc,
        target,
        to(OVERVIEW, "Overview"),
        unit="s",
        column=f"p{percent}.0 {field}",
        empty="–",
        steps=((None, looks.BLUE),),
    )
