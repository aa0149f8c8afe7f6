"""Tocsin's own health: whether it ingests events, evaluates windows and delivers notifications."""

from __future__ import annotations

from tocsin_dashboards import looks
from tocsin_dashboards.asking import ask, count, filters, raw, terms, unique
from tocsin_dashboards.kinds import HEALTH, INCIDENTS, OVERVIEW, lines, number, promised, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import ACTIVE, alert_table
from tocsin_dashboards.tables import listing

_OWN = "tocsin.detector.family:health"
_UP, _TOLD = to(OVERVIEW, "SOC overview"), to(INCIDENTS, "Incidents and playbooks")
_EVERYTHING = [filters({"all": "*"})]
_RUNS = {
    "@timestamp": "window end",
    "tocsin.detector.id": "detector",
    "event.action": "state",
    "error.type": "cause",
    "event.reason": "why",
}
_LETTERS = {
    "@timestamp": "when",
    "tocsin.dead_letter.stream": "stream",
    "tocsin.source.id": "source",
    "tocsin.dead_letter.position": "place",
    "error.message": "why",
}


def build() -> Board:
    """The board."""
    board = Board(
        HEALTH,
        "Tocsin: its own health",
        "Whether Tocsin ingests events, evaluates windows and delivers notifications. For the steps to take for each alert, see docs/operations.md.",
        time="now-24h",
        filtered="run",
    )
    for row in (_now, _alerts_about_tocsin_itself, _ingest, _detection, _details):
        row(board)
    return board


def _now(board: Board) -> None:
    board.row(
        "Now",
        (
            6,
            number(
                "Tocsin's open alerts",
                "The number of open alerts about Tocsin itself: silent sources, failing plug-ins, clocks that disagree, or a rising number of dead letters. If it is above 0, see the table below.",
                ask("alerts", f"{_OWN} AND {ACTIVE}", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.GREEN), (1, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Windows not evaluated",
                "The number of gaps and failed evaluations in this time range, including windows that were evaluated later. The command tocsin coverage shows windows that are still not evaluated.",
                ask("run", "event.action:(gap OR failed)", [unique("event.id")], _EVERYTHING),
                _UP,
                column="Unique Count",
                steps=((None, looks.GREEN), (1, looks.ORANGE)),
            ),
        ),
        (
            6,
            number(
                "Events rejected",
                "The number of events that ingest rejected. The command tocsin events dead_letter shows each rejected event with its reason and position.",
                ask("dead_letter", "", [count()], _EVERYTHING),
                _UP,
                empty="0",  # before the first rejected event, no index exists to count in
                steps=((None, looks.GREEN), (1, looks.YELLOW), (1000, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Healthy workers",
                "The number of workers that run their jobs in time, by their metrics. If you run more workers than this number, see TocsinDown in docs/operations.md.",
                promised("sum(tocsin_up)", "workers"),
                _UP,
                column="workers",
                empty="no data: check Prometheus",
                steps=((None, looks.RED), (1, looks.GREEN)),
            ),
        ),
        height=4,
    )


def _alerts_about_tocsin_itself(board: Board) -> None:
    board.row("Alerts about Tocsin itself", (24, alert_table("Tocsin's own alerts", _OWN)), height=7)


def _ingest(board: Board) -> None:
    board.row(
        "Ingest",
        (
            8,
            lines(
                "Events by stream and outcome",
                "Events in each second. Rejected events are stored as dead letters. Spooled events wait on disk until the store is available. A stream at zero has a silent source.",
                [
                    promised(
                        "sum by (stream, outcome) (rate(tocsin_events_total[5m]))", "{{stream}} {{outcome}}"
                    )
                ],
                _UP,
                unit="cps",
            ),
        ),
        (
            8,
            lines(
                "Ingest lag",
                "The age of the newest event at its ingest. If it rises, the source sends events late, or the worker cannot keep up. Windows are then evaluated late.",
                [promised("max by (stream) (tocsin_ingest_lag_seconds)", "{{stream}}")],
                _UP,
                unit="s",
            ),
        ),
        (
            8,
            lines(
                "Spool",
                "Bytes in the spool, which holds events on disk while the store is unavailable. When the spool is full, collectors wait. Repair the store, or increase the size of the spool.",
                [promised("tocsin_spool_bytes", "spool {{instance}}")],
                _UP,
                unit="bytes",
            ),
        ),
    )


def _detection(board: Board) -> None:
    board.row(
        "Detection",
        (
            8,
            lines(
                "Age of what is due",
                "How long the oldest due window has waited for its evaluation, by detector. If it is above an hour, add a worker, or find out why the detector is slow.",
                [promised("max by (detector) (tocsin_watermark_age_seconds)", "{{detector}}")],
                _UP,
                unit="s",
            ),
        ),
        (
            8,
            lines(
                "Time for a window, slowest twentieth",
                "The 95 % quantile of the time that the evaluation of a window that has ended takes. A step up after the release of a plug-in suggests that the plug-in is the cause.",
                [
                    promised(
                        "histogram_quantile(0.95, sum by (le) (rate(tocsin_window_duration_seconds_bucket[15m])))",
                        "95 % quantile",
                    )
                ],
                _UP,
                unit="s",
            ),
        ),
        (
            8,
            lines(
                "Failures of plug-ins",
                "The failures of each plug-in, by kind: exceptions, hangs, crashes and excessive memory. Other plug-ins are not affected. Notify the owner of the plug-in. The command tocsin runs --outcome failed shows the reasons.",
                [
                    promised(
                        "sum by (plugin, kind) (increase(tocsin_fence_failures_total[30m]))",
                        "{{plugin}} {{kind}}",
                    )
                ],
                _UP,
            ),
        ),
    )


def _details(board: Board) -> None:
    board.row(
        "Details",
        (
            24,
            listing(
                "Windows that failed or were skipped",
                "The windows that were not evaluated, with the reason. A window that was skipped because its detector had no baseline needs no action: later windows are evaluated when the history is long enough. A failure is caused by a plug-in or the store.",
                ask("run", "event.action:(failed OR skipped OR gap)", [raw(100)]),
                _UP,
                columns=_RUNS,
                only=True,
            ),
        ),
        (
            12,
            listing(
                "Early findings, and those that the full window withdrew",
                "An early finding is made while its window has not ended. It is withdrawn if the full window does not confirm it. If a detector's findings are often withdrawn, switch its early evaluation off: detectors.<id>.early: false.",
                ask(
                    "finding",
                    "tocsin.run.early:true",
                    [unique("tocsin.finding.id")],
                    [
                        terms("tocsin.detector.id", 50),
                        filters(
                            {"early": "NOT event.action:withdrawn", "withdrawn": "event.action:withdrawn"}
                        ),
                    ],
                ),
                _UP,
                columns={
                    "tocsin.detector.id": "detector",
                    "filter": "state",
                    "Unique Count": "findings",
                },
            ),
        ),
        (
            12,
            lines(
                "Early evaluations",
                "The number of evaluations of windows that had not ended, by detector. The other panels do not count them.",
                [
                    promised(
                        'sum by (detector) (increase(tocsin_windows_total{outcome="early"}[30m]))',
                        "{{detector}}",
                    )
                ],
                _UP,
            ),
        ),
        (
            16,
            listing(
                "Rejected events",
                "The rejected events with reason and position. Correct the source and send the events again. Tocsin drops events that it already has.",
                ask("dead_letter", "", [raw(100)]),
                _UP,
                columns=_LETTERS,
                only=True,
            ),
        ),
        (
            8,
            listing(
                "Rejected, by reason of stream",
                "The number of rejected events by stream and source. Start with the first line.",
                ask(
                    "dead_letter",
                    "",
                    [count()],
                    [terms("tocsin.dead_letter.stream", 10), terms("tocsin.source.id", 10)],
                ),
                _UP,
                columns={
                    "tocsin.dead_letter.stream": "stream",
                    "tocsin.source.id": "source",
                    "Count": "events",
                },
            ),
        ),
        (
            24,
            lines(
                "Notifications by outcome",
                "The number of notifications by receiver and outcome. If failures repeat, the receiver is broken, and people get no notifications.",
                [
                    promised(
                        "sum by (receiver, outcome) (increase(tocsin_notifications_total[30m]))",
                        "{{receiver}} {{outcome}}",
                    )
                ],
                _TOLD,
            ),
        ),
        height=9,
    )
