"""The three kinds of plug-in: collectors read events, detectors score windows, receivers deliver notifications.

A plug-in is a class with an `id`, discovered through the entry-point group `tocsin.plugins`. Its settings are a
frozen dataclass, which its base class names: `class Mine(Detector[Params])`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from tocsin.clock import parse_length
from tocsin.contract.early import Early
from tocsin.contract.findings import Family
from tocsin.contract.panels import Panel
from tocsin.contract.severities import RATIOS, Severities, Tail
from tocsin.errors import PluginError

if TYPE_CHECKING:
    from tocsin.contract.alerts import Notification
    from tocsin.contract.findings import Score
    from tocsin.contract.windows import Baseline, Window

P = TypeVar("P")

#: The default rate of false alarms: the probability that a score of a quiet window reaches the threshold.
FALSE_ALARMS = 0.01


class Stability(StrEnum):
    """How stable the behavior of a plug-in is."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True)
class NoParams:
    """The params of a plug-in without settings."""


def param(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declare one setting of a plug-in: its default, bounds and documentation.

    The declaration is used for parsing, for error messages with file and line, and for the table in the catalogue of
    plug-ins. A setting without a default is required.
    """
    metadata = {"doc": doc, "ge": ge, "le": le, "choices": choices}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, init=False)
class Requires:
    """The streams that a detector reads, and the lengths of its window, baseline and history.

    `baseline=None` means that the detector uses no baseline. The configuration can override the lengths of window
    and baseline. `shortest` is the history from which a shortened baseline may be fitted on a new installation; None: a
    baseline needs at least half of its length. A shortened baseline has a wider threshold, and its findings are at most
    `medium` (`tocsin.contract.short`).
    """

    streams: tuple[str, ...]
    window: timedelta
    baseline: timedelta | None
    history: timedelta | None
    shortest: timedelta | None

    def __init__(
        self,
        *streams: str,
        window: str,
        baseline: str | None = None,
        history: str | None = None,
        shortest: str | None = None,
    ) -> None:
        object.__setattr__(self, "streams", streams)
        object.__setattr__(self, "window", parse_length(window))
        object.__setattr__(self, "baseline", parse_length(baseline) if baseline else None)
        object.__setattr__(self, "history", parse_length(history) if history else None)
        object.__setattr__(self, "shortest", parse_length(shortest) if shortest else None)


class Plugin(ABC, Generic[P]):
    """The base class of the three kinds of plug-in."""

    id: ClassVar[str]
    stability: ClassVar[Stability] = Stability.EXPERIMENTAL

    def __init__(self, params: P) -> None:
        self.params = params

    @classmethod
    def params_type(cls) -> type[Any]:
        """The dataclass of this plug-in's settings, taken from the base class `Kind[Params]`.

        Raises:
            PluginError: no base class names a dataclass.
        """
        for base in (b for c in cls.__mro__ for b in getattr(c, "__orig_bases__", ())):
            if isinstance(get_origin(base), type) and issubclass(get_origin(base), Plugin):
                argument = get_args(base)[0]
                if dataclasses.is_dataclass(argument) and isinstance(argument, type):
                    return argument
        raise PluginError(
            getattr(cls, "id", cls.__name__),
            "its base class names no settings; write `class X(Detector[Params])` with a frozen dataclass, or NoParams",
        )


class Detector(Plugin[P]):
    """Computes the scores of a window. A detector is pure: no store, network or clock, and random numbers only from a
    fixed seed.

    The platform sets the threshold. If `threshold` is None, the platform fits the detector on one part of the
    baseline, scores `chunks` of the other part with the same code, and uses the quantile of these scores that
    `false_alarms` defines, but at least `floor`. A rule declares a fixed `threshold` instead.

    `early` says what a window that has not ended means to the detector. None: the detector judges a window only after its
    end.

    `alarm_share` is the share of `false_alarms` that the threshold is calibrated for: less than 1 if a window has many
    subjects, each of which is judged.

    `tail` declares the shape of the upper tail of the scores in quiet windows. The severities then have stated rates of
    false alarms (`tocsin.contract.severities`). None: they follow from multiples of the threshold alone.

    `rules` says that the detector judges a window without a baseline: by fixed rules and bundled priors, with `floor` as
    the threshold. `score` then gets a window whose `baseline` is None. Other detectors are skipped until there is one.

    `family` selects the dashboard that shows the detector's findings and its `panels`.
    """

    requires: ClassVar[Requires]
    atlas: ClassVar[tuple[str, ...]] = ()
    playbook: ClassVar[str] = ""
    family: ClassVar[Family] = Family.OTHER
    panels: ClassVar[tuple[Panel, ...]] = ()
    threshold: ClassVar[float | None] = None
    floor: ClassVar[float] = 0.0
    rules: ClassVar[bool] = False
    alarm_share: ClassVar[float] = 1.0
    tail: ClassVar[Tail | None] = None
    early: ClassVar[Early | None] = None
    false_alarms: float = FALSE_ALARMS  # of this instance

    def configure(
        self, id: str, requires: Requires, threshold: float | None, false_alarms: float = FALSE_ALARMS
    ) -> None:
        """Set the id, lengths, fixed threshold and rate of false alarms of this instance from the configuration."""
        vars(self).update(id=id, requires=requires, false_alarms=false_alarms)
        if threshold is not None:
            vars(self).update(threshold=threshold)

    @property
    def severities(self) -> Severities:
        """The multiples of the threshold at which the severities of this instance's findings begin."""
        return self.table(self.false_alarms)

    @classmethod
    def table(cls, false_alarms: float = FALSE_ALARMS) -> Severities:
        """The multiples of the threshold at which severities begin, for a rate of false alarms."""
        if cls.tail is None:
            return RATIOS
        return Severities.calibrated(cls.tail, false_alarms * cls.alarm_share)

    def fit(self, window: Window) -> Baseline | None:  # noqa: ARG002 — subclasses use the argument
        """Learn from a window of trusted history what is normal. Return None if the history is too small."""
        return None

    def split(self, window: Window) -> tuple[Window, Window]:
        """Divide the baseline into a part to fit on and a part to calibrate on. The default: two halves by time."""
        return window.split(0.5)

    def chunks(self, window: Window) -> Iterator[Window]:
        """Divide the held-out part of the baseline into windows like those that `score` gets.

        The default divides by time. A detector whose score depends on the number of rows should sample chunks of
        rows instead (`window.with_rows`), so that the result does not depend on the sample size.
        """
        return window.tumble(self.requires.window)

    @abstractmethod
    def score(self, window: Window) -> Iterator[Score]:
        """Score every subject in the window, in a stable order, also those whose score is low."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A part of a source that is not a valid event: the reason, its position, and its original bytes."""

    reason: str
    position: str
    original: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one stream that a collector read at once.

    A batch has either `events`, which are nested or dotted ECS mappings, or `lines`, which are complete ndjson lines.
    `position` returns the position of an event in the source, for dead letters. `checkpoint` is committed together
    with the rows: for each key, a byte offset or count from which the next read continues. `derived_ids` says that
    the collector computed each `event.id` from the event's content, which may be secret.
    """

    stream: str
    source: str
    checkpoint: Mapping[str, int]
    events: Sequence[Mapping[str, Any]] = ()
    lines: bytes = b""
    position: Callable[[int], str] = str
    rejected: Sequence[Rejected] = ()
    derived_ids: bool = False


Resume = Callable[[str, str], int | None]
"""`resume(stream, key)` returns the committed checkpoint of a key, or None."""


class Collector(Plugin[P]):
    """Reads batches of events from a source. Delivery is at least once: ingest stores a duplicate event only once."""

    @abstractmethod
    def collect(self, resume: Resume) -> Iterator[Batch]:
        """Read all events since the committed checkpoints, then return. A later call continues from there.

        Raises:
            InputError: the source, or a part of it, cannot be read. Raise it after the batches of the other parts.
        """

    def check(self) -> None:
        """Check that the source can be read, without reading events. `tocsin check` calls this.

        Raises:
            InputError: the source, or a part of it, cannot be read.
        """


class Receiver(Plugin[P]):
    """Delivers notifications to people or to another system, like a receiver of Alertmanager."""

    @abstractmethod
    def send(self, notification: Notification) -> None:
        """Deliver a notification. After a crash it may be called again with the same key.

        Raises:
            DeliveryError: the notification was not delivered. The error says whether to retry.
        """


KINDS: tuple[type[Plugin[Any]], ...] = (Collector, Detector, Receiver)
