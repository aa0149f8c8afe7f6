"""One detector over frames: for notebooks and tests, with no store and no configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin.clock import floor_time, parse_length
from tocsin.config import discovery
from tocsin.config import params as settings
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.findings import Finding
from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.plugin import FALSE_ALARMS, Detector
from tocsin.contract.streams import TIME
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.errors import BaselineError, InputError

_SCHEMA = pl.Schema(
    {
        "subject.type": pl.String(),
        "subject.id": pl.String(),
        "window.start": TIME_TYPE,
        "window.end": TIME_TYPE,
        "score": pl.Float64(),
        "threshold": pl.Float64(),
        "reason": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` returns: a row for every score, the findings, and the baseline that was used."""

    scores: pl.DataFrame
    findings: list[Finding]
    baseline: Baseline | None


def evaluate(
    detector: str | type[Detector[Any]] | Detector[Any],
    events: Mapping[str, pl.DataFrame],
    params: Mapping[str, Any] | None = None,
    baseline: Mapping[str, pl.DataFrame] | Baseline | None = None,
    snapshots: Mapping[str, pl.LazyFrame] | None = None,
    *,
    window: str | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> Evaluation:
    """Run a detector over every tumbling window that the events touch.

    Args:
        detector: the id of an installed detector, a detector class, or an instance of one.
        events: rows by stream. A frame needs `@timestamp` and the columns that the detector reads; every
            other column of the stream is null.
        params: settings for an id or a class. Default: the detector's own. An instance has its settings.
        baseline: trusted events by stream to fit and calibrate on, or a baseline that was fitted before
            (`Evaluation.baseline`). Trusted events also serve as history.
        snapshots: rows of dataset snapshots by `tocsin.dataset.digest`, for events and baseline.
        window: length of a window. Default: the detector's own.
        false_alarms: rate of false alarms for which the threshold is calibrated.

    Raises:
        PluginError: no such detector is installed, or its `fit` or `score` returns a wrong type.
        ConfigError: a setting is wrong.
        BaselineError: the detector needs a baseline and has none, or the baseline is too small.
        InputError: an argument has a wrong type, there are no events, or a frame does not fit its stream.
    """
    instance = _instance(detector, params)
    _check_frames(events, baseline)
    return _evaluate(instance, events, baseline, snapshots, window, false_alarms)


def _evaluate(
    detector: Detector[Any],
    events: Mapping[str, pl.DataFrame],
    baseline: Mapping[str, pl.DataFrame] | Baseline | None,
    snapshots: Mapping[str, pl.LazyFrame] | None,
    length: str | None,
    false_alarms: float,
) -> Evaluation:
    rows: list[tuple[Any, ...]] = []
    findings: list[Finding] = []
    every, fitted = windows(detector, events, baseline, snapshots, length, false_alarms)
    for window in every:
        for judged in judge(detector, window):
            score = judged.score
            rows.append(
                (*score.subject, window.start, window.end, score.value, judged.threshold, score.reason)
            )
            if judged.finding is not None:
                findings.append(judged.finding)
    return Evaluation(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), findings, fitted)


def windows(
    detector: Detector[Any],
    events: Mapping[str, pl.DataFrame],
    baseline: Mapping[str, pl.DataFrame] | Baseline | None,
    snapshots: Mapping[str, pl.LazyFrame] | None = None,
    length: str | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> tuple[list[Window], Baseline | None]:
    """The tumbling windows that the events touch, oldest first, and their baseline. Arguments as for `evaluate`."""
    source = FrameSource.of(events, snapshots)
    past = source
    fitted = baseline if isinstance(baseline, Baseline) else None
    if isinstance(baseline, Mapping):
        trusted = FrameSource.of(baseline, snapshots)
        past = _joined(trusted, source)
        if detector.requires.baseline is not None:
            fitted = fit(detector, Window(*_span(trusted), trusted), false_alarms)
    if detector.requires.baseline is not None and fitted is None:
        raise BaselineError(
            f"detector {detector.id} compares with a baseline; pass baseline={{stream: frame}} of trusted events"
        )
    span = parse_length(length) if length else detector.requires.window
    starts = _starts(source, detector, span)
    return [Window(start, start + span, source, fitted, past) for start in starts], fitted


def _instance(detector: Any, params: Mapping[str, Any] | None) -> Detector[Any]:
    """The detector to run, from an id, a class or an instance."""
    if isinstance(detector, Detector):
        if params is not None:
            raise InputError(
                f"params were passed with an instance of {type(detector).__name__}, which has its settings already; "
                f"pass the class, or the settings to {type(detector).__name__}(…)"
            )
        return detector
    if isinstance(detector, str):
        plugin = discovery.discover().get(Detector, detector)  # type: ignore[type-abstract]
    elif isinstance(detector, type) and issubclass(detector, Detector):
        plugin = detector
    else:
        what = f"the class {detector.__name__}" if isinstance(detector, type) else f"{detector!r}"
        raise InputError(
            "evaluate needs the id of an installed detector, a subclass of tocsin.Detector or an instance of one, "
            f"not {what}"
        )
    missing = [name for name in ("id", "requires") if not hasattr(plugin, name)]
    missing += sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise InputError(f"detector class {plugin.__name__} does not define {', '.join(missing)}")
    return plugin(settings.build(plugin.params_type(), params or {}))


def _check_frames(events: Any, baseline: Any) -> None:
    if not isinstance(events, Mapping):
        raise InputError(
            f"events must be a dict of frames by stream, such as {{'inference': frame}}, not {type(events).__name__}"
        )
    if baseline is not None and not isinstance(baseline, Mapping | Baseline):
        raise InputError(
            "baseline must be a dict of frames by stream or the baseline of an earlier evaluation, "
            f"not {type(baseline).__name__}"
        )


def _span(source: FrameSource) -> tuple[Any, Any]:
    frames = [frame[TIME] for frame in source.frames.values()]
    times = pl.concat(frames).drop_nulls() if frames else pl.Series()
    if times.is_empty():
        raise InputError("the baseline's frames hold no event with an @timestamp")
    return times.min(), times.max() + timedelta(microseconds=1)  # type: ignore[operator]


def _starts(source: FrameSource, detector: Detector[Any], length: timedelta) -> list[Any]:
    needed = [source.frames[s][TIME] for s in detector.requires.streams if s in source.frames]
    if not needed:
        raise InputError(
            f"detector {detector.id} reads {', '.join(detector.requires.streams)}; "
            f"events holds {', '.join(source.frames) or 'nothing'}"
        )
    times = pl.concat(needed).drop_nulls().unique()
    return sorted({floor_time(time, length) for time in times.to_list()})


def _joined(first: FrameSource, second: FrameSource) -> FrameSource:
    frames = dict(first.frames)
    for name, frame in second.frames.items():
        frames[name] = pl.concat([frames[name], frame]) if name in frames else frame
    return FrameSource(frames, second.snapshots)
