"""One model: everything about it."""

from __future__ import annotations

from tocsin_dashboards.asking import AUTO, STEP, ask, count, highest, percentiles, raw, terms
from tocsin_dashboards.kinds import ACCESS, BEHAVIOR, DATASETS, MODEL, OVERVIEW, USAGE, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import alert_table, answers, classes, history
from tocsin_dashboards.tables import listing

_CALLS = 'tocsin.model.name:"${model}"'
_ABOUT = 'tocsin.subject.id:"${model}"'
_UP = to(OVERVIEW, "SOC overview")


def build() -> Board:
    """The board."""
    board = Board(
        MODEL,
        "Tocsin: one model",
        "Everything about one model: its alerts, answers, callers, pipeline runs, and accesses to it.",
        ["one_model", "step"],
        "now-30d",
        filtered="inference",
    )
    for row in (_alerts, _answers, _who_asks_it_and_who_touched_it, _how_it_was_made):
        row(board)
    return board


def _alerts(board: Board) -> None:
    board.row("Alerts", (24, alert_table("Alerts about this model", _ABOUT)), (24, _scores()))


def _answers(board: Board) -> None:
    board.row(
        "Answers",
        (
            8,
            answers(_CALLS, _UP),
        ),
        (
            8,
            classes(_CALLS, _UP),
        ),
        (
            8,
            lines(
                "Latency",
                "The median and the 95 % quantile of the time of a call. If it rises with the number of calls, the service needs more capacity. If it rises without more calls, the service itself changed.",
                [ask("inference", _CALLS, [percentiles("event.duration", 50, 95)], over=AUTO)],
                _UP,
                unit="ns",
            ),
        ),
    )


def _who_asks_it_and_who_touched_it(board: Board) -> None:
    board.row(
        "Who asks it, and who touched it",
        (
            12,
            lines(
                "Calls by principal",
                "The number of calls by principal. A principal that calls without pauses, or a new principal with many calls, may be copying the model: open its board.",
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
                to(USAGE, "Usage and extraction"),
                stacked=True,
            ),
        ),
        (
            12,
            listing(
                "Accesses to it in the registry",
                "Who read, changed or downloaded the model. Each change should have a known person, a reason, and a pipeline run at about the same time.",
                ask("access", 'tocsin.resource.id:"${model}"', [raw(200)]),
                to(ACCESS, "Registry and data access"),
                only=True,
                columns={
                    "@timestamp": "when",
                    "user.id": "principal",
                    "event.action": "action",
                    "tocsin.resource.version": "version",
                    "event.outcome": "state",
                    "source.ip": "address",
                },
            ),
        ),
    )


def _how_it_was_made(board: Board) -> None:
    board.row(
        "How it was made",
        (
            24,
            listing(
                "Runs of its pipeline",
                "When the model was trained and deployed, by whom and from which inputs. If a version answers calls but has no run here, the pipeline did not create it.",
                ask("pipeline", _CALLS, [raw(200)]),
                to(DATASETS, "Data integrity"),
                only=True,
                columns={
                    "@timestamp": "when",
                    "tocsin.pipeline.run_id": "run",
                    "tocsin.pipeline.step": "step",
                    "user.id": "principal",
                    "tocsin.model.version": "version",
                    "tocsin.pipeline.inputs": "inputs",
                },
            ),
        ),
        (24, history(_ABOUT)),
    )


def _scores() -> object:
    return lines(
        "Scores of every detector about it",
        "The score of this model by detector. Each detector has its own scale, so compare shapes and not values. A rise "
        "over days suggests drift or slow poisoning. A jump suggests a single event.",
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
        to(BEHAVIOR, "Model behavior"),
        unit="none",
    )
