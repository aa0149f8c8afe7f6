"""Outliers in numeric columns, found by a configured PyOD or scikit-learn estimator."""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from tocsin.contract.aspects import THRESHOLD, unusual
from tocsin.contract.streams import SOURCES, STREAMS, Type
from tocsin.words import count, listed, sentence, short
from tocsin_detectors._alignment import Shape, align
from tocsin_detectors._spelling import pooled
from tocsin_detectors._vectors import NAMES
from tocsin_detectors._vectors import VALUES as _VECTOR

_MOST_ROWS = 20_000
_LEAST_UNCLEAR = 10  # fewer rows of a subject are not reported
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


class _Rows(NamedTuple):
    """The judged rows by canonical subject (`pool`), their numeric columns, and the shape of vectors.

    `unclear`: by subject, its name (`who`), the number of its rows, and of those that are not judged by all values.
    """

    rows: pl.DataFrame
    columns: list[str]
    unclear: pl.DataFrame
    shape: Shape


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
        read = self._read(window, None)
        rows = read.rows.select(read.columns)
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
        read = self._read(window, Shape(names, len(middle)))
        yield from self._unclear(read.unclear, window.baseline)
        if read.rows.is_empty():
            return
        decided = _decided(estimator, _filled(_matrix(read.rows.select(read.columns)), middle))
        rarity = np.log((len(quiet) + 1) / (len(quiet) - np.searchsorted(quiet, decided) + 1))
        judged = read.rows.select("pool", rarity=rarity)
        who = dict(read.unclear.select("pool", "who").iter_rows())
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

    def _unclear(self, rows: pl.DataFrame, baseline: Baseline) -> Iterator[Score]:
        """Subjects with more rows without all values, or of another form, than they have in the baseline."""
        known = baseline.frames.get("unclear")
        if known is None:  # an older baseline
            values = baseline.frames["rows"]
            usual = rows.select("pool", share=pl.lit(_odd(values).sum() / max(len(values), 1)))
            known = usual.unique()
        found = rows.join(known, on="pool", how="left").with_columns(pl.col("share").fill_null(0.0))
        for who, number, unclear, share in (
            found.filter(pl.col("unclear") >= _LEAST_UNCLEAR, pl.col("rows") >= self.params.min_rows)
            .select("who", "rows", "unclear", "share")
            .iter_rows()
        ):
            reason = f"{unclear:,} of {count(number, 'row')} of {short(who)} lack values or have another form"
            score = not_judged(
                Subject(self.params.subject_type, who), "unclear rows", reason, unclear, share * number
            )
            if score.value >= THRESHOLD:  # then the share decides: a busy subject has more rows of every kind
                score = replace(score, value=unusual(100 * (unclear / number - share), 0.0))
            yield score

    def _read(self, window: Window, shape: Shape | None) -> _Rows:
        """The numeric values of the rows by subject; vectors in a baseline's shape, otherwise in the commonest."""
        vector = self.params.columns == (_VECTOR,)
        wanted = (NAMES, _VECTOR) if vector else self.params.columns
        raw = window.rows(self.params.stream, [self.params.subject_column, *wanted]).with_row_index("row")
        who = pl.col(self.params.subject_column).cast(pl.String)
        raw = raw.with_columns(who.alias("who")).with_columns(pool=pooled(raw.select(who).to_series()))
        if vector:
            vectors = raw.filter(pl.col(_VECTOR).list.len() > 0)
            shape = shape or _commonest(vectors)
            found = align(vectors, shape)
            places = [pl.col(_VECTOR).list.get(i).alias(f"{i}") for i in range(shape.width)]
            rows, odd = found.calls.select("row", "pool", *places), found.rest["row"]
        else:
            shape = Shape(None, len(wanted))
            rows = raw.select("row", "pool", *(pl.col(c).cast(pl.Float64) for c in wanted))
            rows = rows.filter(pl.any_horizontal(pl.col(c).is_not_null() for c in wanted))
            odd = rows["row"].clear()
        columns = [name for name in rows.columns if name not in ("row", "pool")]
        clear = rows.filter(~_odd(rows.select(columns)), ~pl.col("row").is_in(odd.implode()))["row"]
        unclear = raw.group_by("pool", maintain_order=True).agg(
            pl.len().alias("rows"),
            (~pl.col("row").is_in(clear.implode())).sum().alias("unclear"),
            pl.col("who").drop_nulls().mode().min().fill_null(f"(no {self.params.subject_type})"),
        )
        return _Rows(rows, columns, unclear.sort("pool"), shape)

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


def _odd(rows: pl.DataFrame) -> pl.Series:
    """Whether a row lacks a value."""
    lacks = pl.any_horizontal([~pl.all().is_finite().fill_null(value=False)])
    return rows.select(lacks.alias("odd"))["odd"] if rows.width else pl.Series("odd", [], pl.Boolean)


def _commonest(vectors: pl.DataFrame) -> Shape:
    """The names and length that most vectors have."""
    shapes = vectors.group_by(NAMES, pl.col(_VECTOR).list.len().alias("width")).len()
    if shapes.is_empty():
        return Shape(None, 0)
    ranked = shapes.sort("len", "width", NAMES, descending=[True, False, False], nulls_last=True)
    return Shape(ranked[NAMES][0], int(ranked["width"][0]))


def _filled(values: Floats, middle: Floats) -> Floats:
    return np.where(np.isfinite(values), values, middle)
