"""Outliers in numeric columns, found by a configured PyOD or scikit-learn estimator."""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin import (
    Baseline,
    ConfigError,
    Detector,
    Family,
    Requires,
    Score,
    Stability,
    Subject,
    Window,
    not_judged,
    param,
)
from tocsin.config.params import unknown
from tocsin.contract.streams import SOURCES, STREAMS, Type
from tocsin.words import count, listed, sentence, short
from tocsin_detectors._alignment import Shape
from tocsin_detectors._numeric_rows import Rows, unclear_rows
from tocsin_detectors._vectors import VALUES as _VECTOR

_MOST_ROWS = 20_000
Floats = NDArray[np.float64]
_SEED = 0


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `pyod`."""

    columns: tuple[str, ...] = param(
        doc="numeric columns of the stream that are judged together, or tocsin.features.values"
    )
    estimator: str = param("pyod.models.ecod.ECOD", doc="dotted name of a class below pyod.models or sklearn")
    arguments: dict[str, Any] = param({}, doc="keyword arguments of the estimator")
    stream: str = param("inference", doc="name of the stream to judge")
    subject_type: str = param("model", doc="type of the findings' subject")
    subject_column: str = param("tocsin.model.name", doc="column that contains the subject's id")
    top: float = param(
        0.05, ge=0.0, le=1.0, doc="share of a subject's rows (the worst ones) whose mean rarity is the score"
    )
    min_rows: int = param(20, ge=1, doc="a subject with fewer rows in the window is not judged")


class Pyod(Detector[Params]):
    """A subject has rows that are rare in the baseline.

    What it sees
        Rows of a subject that are rare in the baseline, according to an outlier estimator. The configuration
        names the stream and its numeric columns.
    Method
        The detector fits an outlier estimator of PyOD (Zhao, Nasrullah, Li 2019) or scikit-learn on half of the
        baseline's rows. The rarity of a row is minus the log of a share: the share of the rows of the other
        half that have at least the same outlier score. A subject's score is the mean rarity of its worst rows
        in the window. The spellings of a subject's name are pooled. Vectors of another shape are aligned with the
        baseline's by feature name, or by place if they have the same length. Rows that lack values or cannot be
        aligned are reported as "not judged" if the subject has more of them than in the baseline. The cost grows
        with the number of rows and subjects.
    Blind spots
        Rows that are wrong now but were common in the baseline; anomalies that the chosen columns do not show;
        rare rows among many usual ones of the same subject (`top`).
    False alarms
        A new kind of normal row. Once you know that these rows are normal, fit a new baseline.
    Respond
        Search the window for rows with unusual values in the columns that the evidence names, and find out what
        changed. If a special detector exists for the cause, use that detector.
    """

    id = "pyod"
    requires = Requires("inference", window="1d", baseline="28d")
    playbook = "unexplained-anomaly"
    family = Family.MODEL_BEHAVIOR
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        _check_columns(params)
        self.requires = Requires(params.stream, window="1d", baseline="28d")  # type: ignore[misc]
        self._class = _estimator(params.estimator)
        self._fitted: tuple[str, Any] = ("", None)
        self._new()

    def fit(self, window: Window) -> Baseline | None:
        read = Rows.read(window, self.params.stream, self.params.subject_column, self.params.columns)
        rows = read.values.select(read.columns)
        if rows.height < 2 * self.params.min_rows:
            return None
        if rows.height > _MOST_ROWS:
            rows = rows.sample(_MOST_ROWS, seed=_SEED)
        values = _matrix(rows)
        medians = rows.fill_nan(None).median().row(0)
        middle = np.nan_to_num(np.asarray(medians, dtype=np.float64), posinf=0.0, neginf=0.0)
        # Scores of normal rows come from rows that the estimator was not fitted on.
        quiet = _decided(self._made(_filled(values[::2], middle)), _filled(values[1::2], middle))
        return Baseline(
            {
                "rows": rows.gather_every(2),
                "quiet": pl.DataFrame({"score": np.sort(quiet)}),
                "unclear": read.unclear.select("pool", share=pl.col("unclear") / pl.col("rows")),
            },
            {"middle": middle.tolist(), "names": read.shape.names},
        )

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        estimator, middle, quiet = self._of(window.baseline)
        names: Any = window.baseline.values.get("names")
        shape = Shape(names, len(middle))
        read = Rows.read(window, self.params.stream, self.params.subject_column, self.params.columns, shape)
        yield from unclear_rows(read, window.baseline, self.params.subject_type, self.params.min_rows)
        if read.values.is_empty():
            return
        decided = _decided(estimator, _filled(_matrix(read.values.select(read.columns)), middle))
        rarity = np.log((len(quiet) + 1) / (len(quiet) - np.searchsorted(quiet, decided) + 1))
        judged = read.values.select("pool", rarity=rarity)
        who = {
            pool: f"(no {self.params.subject_type})" if name is None else name
            for pool, name in read.unclear.select("pool", "who").iter_rows()
        }
        few = judged.filter(pl.len().over("pool") < self.params.min_rows)
        yield from self._few(few)
        for (pool,), group in judged.group_by("pool", maintain_order=True):
            if group.height < self.params.min_rows:
                continue
            worst, value = self._worst(group)
            yield Score(
                Subject(self.params.subject_type, who[pool]),
                value,
                _reason(who[pool], worst, group.height, math.exp(value), self.params.columns),
                evidence={
                    "estimator": self.params.estimator,
                    "columns": list(self.params.columns),
                    "rows": group.height,
                    "beyond_the_baseline": int((group["rarity"] >= math.log(len(quiet) + 1)).sum()),
                },
            )

    def _worst(self, rows: pl.DataFrame) -> tuple[int, float]:
        """The number of worst rows, and their mean rarity."""
        worst = max(1, round(rows.height * self.params.top))
        return worst, float(rows["rarity"].top_k(worst).to_numpy().mean())

    def _few(self, rows: pl.DataFrame) -> Iterator[Score]:
        """Subjects with too few rows each, if their rows are together as rare as those of a finding."""
        subjects = rows["pool"].n_unique()
        if subjects < 2 or rows.height < self.params.min_rows or self.threshold is None:
            return
        if self._worst(rows)[1] >= self.threshold:
            reason = f"{count(rows.height, 'rare row')} of {count(subjects, 'subject')} with few rows each"
            yield not_judged(Subject("detector", self.id), "few rows each", reason, rows.height)

    def _of(self, baseline: Baseline) -> tuple[Any, Floats, Floats]:
        """The estimator, the medians that replace missing values, and the quiet rows' scores."""
        middle = np.asarray(baseline.values["middle"], dtype=np.float64)
        if self._fitted[0] != baseline.digest:
            values = baseline.frames["rows"].to_numpy().astype(np.float64)
            self._fitted = (baseline.digest, self._made(_filled(values, middle)))
        return self._fitted[1], middle, baseline.frames["quiet"]["score"].to_numpy()

    def _new(self) -> Any:
        arguments = dict(self.params.arguments)
        if "random_state" in inspect.signature(self._class).parameters:
            arguments.setdefault("random_state", _SEED)
        try:
            made = self._class(**arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.params.estimator} does not take these arguments: {error}", key="arguments"
            ) from None
        if not hasattr(made, "decision_function"):
            raise ConfigError(
                f"{self.params.estimator} has no decision_function with these arguments; "
                "LocalOutlierFactor has one with novelty: true",
                key="arguments",
            )
        return made

    def _made(self, values: Floats) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._new().fit(values)


def _reason(subject: str, worst: int, rows: int, rarity: float, columns: Sequence[str]) -> str:
    most = "the most unusual row" if worst == 1 else f"the {worst:,} most unusual rows"
    rare = f"{'is' if worst == 1 else 'are'} as rare as one in {rarity:,.0f} rows of the baseline"
    judged = listed([short(column, 30) for column in columns], 2)
    return sentence([f"{short(subject)}: {most} of {rows:,} {rare}", f"judged by {judged}"])


def _decided(estimator: Any, values: Floats) -> Floats:
    """The outlier scores of rows, the higher the worse.

    ECOD and COPOD rank a row among the rows of the same call. Small parts keep this effect negligible.
    """
    fitted = getattr(estimator, "X_train", None)
    size = len(values) if fitted is None else max(1, len(fitted) // 100)
    parts = [values[at : at + size] for at in range(0, len(values), size)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = np.concatenate([np.asarray(estimator.decision_function(part), dtype=float) for part in parts])
    return (
        -found if type(estimator).__module__.startswith("sklearn.") else found
    )  # in scikit-learn, lower is worse


def _estimator(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    if not (module.startswith(("pyod.models.", "sklearn."))):
        raise ConfigError(f"{name!r} is neither below pyod.models nor below sklearn", key="estimator")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(importlib.import_module(module), cls)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"there is no estimator {name!r}: {error}", key="estimator") from None
    if not (isinstance(found, type) and _judges_outliers(found)):
        raise ConfigError(f"{name} is no outlier estimator", key="estimator")
    return found


def _judges_outliers(found: type[Any]) -> bool:
    from pyod.models.base import BaseDetector
    from sklearn.base import OutlierMixin

    return issubclass(found, BaseDetector | OutlierMixin) and found is not BaseDetector


def _check_columns(params: Params) -> None:
    if params.stream not in SOURCES:
        raise ConfigError(f"no stream {params.stream!r}; there are {', '.join(SOURCES)}", key="stream")
    known = STREAMS[params.stream].by_name
    if params.subject_column not in known:
        raise ConfigError(unknown(params.subject_column, known, "column"), key="subject_column")
    if not params.columns:
        raise ConfigError("columns is empty; name at least one numeric column", key="columns")
    for column in params.columns:
        if column not in known:
            raise ConfigError(unknown(column, known, "column"), key="columns")
        alone = column == _VECTOR and len(params.columns) == 1
        if not alone and known[column].type not in (Type.LONG, Type.DOUBLE):
            raise ConfigError(
                f"column {column!r} is no number ({known[column].type}); {_VECTOR} must stand alone",
                key="columns",
            )


def _matrix(rows: pl.DataFrame) -> Floats:
    return rows.to_numpy().astype(np.float64)


def _filled(values: Floats, middle: Floats) -> Floats:
    return np.where(np.isfinite(values), values, middle)
