"""Data integrity: what came into the training data, from whom, and whether it still looks like itself."""

from __future__ import annotations

from tocsin.contract.findings import Family
from tocsin_dashboards.asking import STEP, ask, count, highest, raw, terms, unique
from tocsin_dashboards.kinds import DATASETS, PRINCIPAL, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import family_alerts, scores
from tocsin_dashboards.tables import listing, matrix

_SNAPSHOTS = "tocsin.dataset.name:$dataset"
_ABOUT = "tocsin.subject.id:$dataset"
_WRITER = to(PRINCIPAL, "Everything about a writer")
_COLUMNS = {
    "@timestamp": "when",
    "tocsin.dataset.name": "dataset",
    "user.id": "principal",
    "tocsin.dataset.rows": "rows",
    "tocsin.dataset.digest": "digest",
    "tocsin.dataset.path": "path",
}


def build() -> Board:
    """The board."""
    board = Board(
        DATASETS,
        "Tocsin: data integrity",
        "What came into the training data, from whom, and whether it still looks like itself.",
        ["dataset", "severity", "step"],
        "now-90d",
        filtered="dataset",
    )
    for row in (_alerts, _scores, _deliveries, _lineage):
        row(board)
    return board


def _alerts(board: Board) -> None:
    family_alerts(
        board,
        Family.DATA_INTEGRITY,
        "Alerts about datasets",
        _ABOUT,
        "Before you retrain: quarantine the snapshot that the evidence names.",
    )


def _scores(board: Board) -> None:
    board.row("Scores", (12, scores("label_poisoning", _ABOUT)), (12, scores("dataset_profile", _ABOUT)))


def _deliveries(board: Board) -> None:
    board.row(
        "Deliveries",
        (
            8,
            lines(
                "Rows of each snapshot",
                "A step up or down that nobody announced is a broken export or forged rows: compare the two snapshots before training on the newer one.",
                [
                    ask(
                        "dataset",
                        _SNAPSHOTS,
                        [highest("tocsin.dataset.rows")],
                        [terms("tocsin.dataset.name")],
                        over=STEP,
                        alias="{{term tocsin.dataset.name}}",
                    )
                ],
                _WRITER,
            ),
        ),
        (
            8,
            lines(
                "Bytes of each snapshot",
                "Bytes that change without rows mean columns that were added, emptied or filled differently: look at the schema in the evidence of dataset_profile.",
                [
                    ask(
                        "dataset",
                        _SNAPSHOTS,
                        [highest("tocsin.dataset.bytes")],
                        [terms("tocsin.dataset.name")],
                        over=STEP,
                        alias="{{term tocsin.dataset.name}}",
                    )
                ],
                _WRITER,
                unit="bytes",
            ),
        ),
        (
            8,
            matrix(
                "Who wrote what",
                "Snapshots by writer and dataset. A writer that appears for the first time is what a partner feed that was taken over looks like: ask its owner.",
                ask(
                    "dataset",
                    _SNAPSHOTS,
                    [unique("tocsin.dataset.digest")],
                    [terms("user.id", 50), terms("tocsin.dataset.name", 20)],
                ),
                _WRITER,
                row="user.id",
                column="tocsin.dataset.name",
                value="Unique Count",
            ),
        ),
    )


def _lineage(board: Board) -> None:
    board.row(
        "Lineage",
        (
            16,
            listing(
                "Snapshots, newest first",
                "The digest says which rows a model was trained on, whatever the file is called. Take it to the pipeline's inputs beside this to see what was trained on it.",
                ask("dataset", _SNAPSHOTS, [raw(200)]),
                _WRITER,
                columns=_COLUMNS,
                only=True,
            ),
        ),
        (
            8,
            listing(
                "What was trained on which digest",
                "The blast radius of a bad snapshot: every model whose training had it as an input. Roll those back first.",
                ask(
                    "pipeline",
                    "tocsin.pipeline.inputs:*",
                    [count()],
                    [
                        terms("tocsin.pipeline.inputs", 200),
                        terms("tocsin.model.name", 50),
                        terms("tocsin.pipeline.run_id", 50),
                    ],
                ),
                _WRITER,
                columns={
                    "tocsin.pipeline.inputs": "digest",
                    "tocsin.model.name": "model",
                    "tocsin.pipeline.run_id": "run",
                    "Count": "steps",
                },
            ),
        ),
    )
