"""Tocsin's own health: whether it takes in, judges and tells what it should."""

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
        "Whether Tocsin takes in, judges and tells what it should. What to do about each alarm: docs/operations.md.",
        time="now-24h",
        filtered="run",
    )
    for row in (_now, _alerts_about_tocsin_itself, _taking_in, _judging, _one_by_one):
        row(board)
    return board


def _now(board: Board) -> None:
    board.row(
        "Now",
        (
            6,
            number(
                "Tocsin's open alerts",
                "Sources that went silent, plug-ins that fail, clocks that disagree, a dead letter that grows. Above 0: the table below says which.",
                ask("alerts", f"{_OWN} AND {ACTIVE}", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.GREEN), (1, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Windows not evaluated",
                "Gaps and failures of this time, whether filled since or not. See tocsin coverage for what is still missing.",
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
                "Events that could not be taken in. Each is kept with its reason and place: tocsin events dead_letter.",
                ask("dead_letter", "", [count()], _EVERYTHING),
                _UP,
                empty="0",  # before the first rejected event there is no index to count in
                steps=((None, looks.GREEN), (1, looks.YELLOW), (1000, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Healthy workers",
                "Workers whose jobs are done in time, by their metrics. Fewer than you run: see docs/operations.md, Worker down.",
                promised("sum(tocsin_up)", "workers"),
                _UP,
                column="workers",
                empty="no data: is Prometheus there?",
                steps=((None, looks.RED), (1, looks.GREEN)),
            ),
        ),
        height=4,
    )


def _alerts_about_tocsin_itself(board: Board) -> None:
    board.row("Alerts about Tocsin itself", (24, alert_table("Tocsin's own alerts", _OWN)), height=7)


def _taking_in(board: Board) -> None:
    board.row(
        "Taking in",
        (
            8,
            lines(
                "Events by stream and outcome",
                "Events a second. Rejected ones stand in the dead letter; spooled ones wait on disk for the store. A stream at zero is a source that is silent.",
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
                "Newest event's age when it came. Rising: the source ships late, or the worker cannot keep up; detectors wait for what is late.",
                [promised("max by (stream) (tocsin_ingest_lag_seconds)", "{{stream}}")],
                _UP,
                unit="s",
            ),
        ),
        (
            8,
            lines(
                "Spool",
                "Bytes on disk while the store is away. Full, it makes collectors wait: bring the store back, or give the spool more room.",
                [promised("tocsin_spool_bytes", "spool {{instance}}")],
                _UP,
                unit="bytes",
            ),
        ),
    )


def _judging(board: Board) -> None:
    board.row(
        "Judging",
        (
            8,
            lines(
                "Age of what is due",
                "How long the oldest window that could be judged has waited, by detector. Above an hour: add a worker, or look at the slow detector.",
                [promised("max by (detector) (tocsin_watermark_age_seconds)", "{{detector}}")],
                _UP,
                unit="s",
            ),
        ),
        (
            8,
            lines(
                "Time for a window, slowest twentieth",
                "How long judging takes. A step up after a release of a plug-in is that plug-in.",
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
                "Plug-ins that raised, hung, crashed or ate memory, by kind. The others go on; tell the owner of the plug-in, who finds the reason in tocsin runs.",
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


def _one_by_one(board: Board) -> None:
    board.row(
        "One by one",
        (
            24,
            listing(
                "Windows that failed or were skipped",
                "Why a window was not judged. Skipped for want of a baseline heals itself; failed is a plug-in's fault or a store's.",
                ask("run", "event.action:(failed OR skipped OR gap)", [raw(100)]),
                _UP,
                columns=_RUNS,
                only=True,
            ),
        ),
        (
            16,
            listing(
                "Rejected events",
                "Reasons and positions of rejected events. Repair the source and send the events again: duplicates are dropped.",
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
                "Which stream and source reject most: begin with the first line.",
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
                "Deliveries by receiver and outcome. Repeated failures mean that a receiver is broken and its recipients are not notified.",
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
