"""Data integrity: new training data, its writers, and whether it resembles earlier data."""

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
        "Which snapshots of training data arrived, who wrote them, and whether they resemble earlier snapshots.",
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
        "Before you retrain, quarantine the snapshot that the evidence names.",
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
                "The number of rows in each snapshot. An unexpected step suggests a broken export or forged rows. Compare the snapshots before and after the step before you train on the newer one.",
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
                "The size of each snapshot. If the bytes change and the rows do not, columns were added, emptied or filled differently. See the schema in the evidence of dataset_profile.",
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
                "The number of snapshots by writer and dataset. A new writer can mean that an attacker controls a partner feed. Ask the owner of the dataset.",
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
                "The digest identifies the rows of a snapshot, whatever the name of the file. To see which models were trained on a snapshot, search its digest in the table to the right.",
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
                "The models whose pipeline runs had each digest as an input. If a snapshot is bad, roll back the models with its digest first.",
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
