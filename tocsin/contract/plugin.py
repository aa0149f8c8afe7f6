"""The three kinds of plug-in: collectors bring events, detectors judge windows, receivers deliver.

A plug-in is a class with an `id`, found through the entry-point group `tocsin.plugins`. Its settings
are a frozen dataclass named in its base: `class Mine(Detector[Params])`.
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
from tocsin.contract.findings import Family
from tocsin.contract.panels import Panel
from tocsin.errors import PluginError

if TYPE_CHECKING:
    from tocsin.contract.alerts import Notification
    from tocsin.contract.findings import Score
    from tocsin.contract.windows import Baseline, Window

P = TypeVar("P")


class Stability(StrEnum):
    """What a user may rely on."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True)
class NoParams:
    """For a plug-in that has nothing to set."""


def param(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declare one setting of a plug-in: its default, its bounds and its line in the docs.

    This one place yields parsing, bounds errors with file and line, and the table in the catalogue.
    Without a default the setting must be given.
    """
    metadata = {"doc": doc, "ge": ge, "le": le, "choices": choices}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, init=False)
class Requires:
    """The streams a detector reads, and the lengths of its window, baseline and history.

    `baseline=None` means that it compares with no baseline. All three lengths can be set again in the
    configuration.
    """

    streams: tuple[str, ...]
    window: timedelta
    baseline: timedelta | None
    history: timedelta | None

    def __init__(
        self, *streams: str, window: str, baseline: str | None = None, history: str | None = None
    ) -> None:
        object.__setattr__(self, "streams", streams)
        object.__setattr__(self, "window", parse_length(window))
        object.__setattr__(self, "baseline", parse_length(baseline) if baseline else None)
        object.__setattr__(self, "history", parse_length(history) if history else None)


class Plugin(ABC, Generic[P]):
    """What the three kinds have in common."""

    id: ClassVar[str]
    stability: ClassVar[Stability] = Stability.EXPERIMENTAL

    def __init__(self, params: P) -> None:
        self.params = params

    @classmethod
    def params_type(cls) -> type[Any]:
        """The dataclass of this plug-in's settings, read from `Kind[Params]`.

        Raises:
            PluginError: no base names one.
        """
        for base in (b for c in cls.__mro__ for b in getattr(c, "__orig_bases__", ())):
            if isinstance(get_origin(base), type) and issubclass(get_origin(base), Plugin):
                argument = get_args(base)[0]
                if dataclasses.is_dataclass(argument) and isinstance(argument, type):
                    return argument
        raise PluginError(
            getattr(cls, "id", cls.__name__),
            "names no settings; write `class X(Detector[Params])` with a frozen dataclass, or NoParams",
        )


class Detector(Plugin[P]):
    """Turns a window into scores. Pure: no store, network, clock or randomness without a fixed seed.

    The platform owns the threshold. With `threshold` None it fits on one part of the baseline, scores
    `chunks` of the other part with the same code, and takes the quantile that `false_alarms` asks
    for, but never less than `floor`. A rule declares a fixed `threshold` instead.

    `family` names the dashboard on which its findings and its own `panels` are shown.
    """

    requires: ClassVar[Requires]
    atlas: ClassVar[tuple[str, ...]] = ()
    playbook: ClassVar[str] = ""
    family: ClassVar[Family] = Family.OTHER
    panels: ClassVar[tuple[Panel, ...]] = ()
    threshold: ClassVar[float | None] = None
    floor: ClassVar[float] = 0.0

    def configure(self, id: str, requires: Requires, threshold: float | None) -> None:
        """Take the id, lengths and fixed threshold that the configuration gives this instance."""
        vars(self).update(id=id, requires=requires)
        if threshold is not None:
            vars(self).update(threshold=threshold)

    def fit(self, window: Window) -> Baseline | None:  # noqa: ARG002 — most override it
        """Learn what is normal from a window of trusted history; None where there is too little."""
        return None

    def split(self, window: Window) -> tuple[Window, Window]:
        """Divide the baseline into a part to fit on and a part to calibrate on; by time, in halves."""
        return window.split(0.5)

    def chunks(self, window: Window) -> Iterator[Window]:
        """Cut the held-out part of the baseline into windows such as `score` will meet.

        The default cuts by time. A detector whose score depends on how many rows there are draws
        chunks of rows instead (`window.with_rows`), so that a verdict does not follow sample size.
        """
        return window.tumble(self.requires.window)

    @abstractmethod
    def score(self, window: Window) -> Iterator[Score]:
        """Judge every subject in the window, the quiet ones too, in a stable order."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something in a source that is no event: why, and where it stands."""

    reason: str
    position: str
    original: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What a collector read in one go, of one stream.

    `events` are nested or dotted ECS mappings, `lines` is a run of whole ndjson lines; a batch has
    one of the two. `position` names each event's place for the dead letter. `checkpoint` is committed
    together with the rows: for each key, where to go on (a byte offset or a count). `derived_ids` says that
    the collector made each `event.id` from the event's contents, which may be secret.
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
"""`resume(stream, key)`: the committed checkpoint of a key, or None."""


class Collector(Plugin[P]):
    """Turns a source into batches of events. At-least-once: ingest counts duplicates once."""

    @abstractmethod
    def collect(self, resume: Resume) -> Iterator[Batch]:
        """Read what is new since the committed checkpoints; end when nothing more is there now.

        Raises:
            InputError: the source cannot be read at all.
        """


class Receiver(Plugin[P]):
    """Delivers notifications to people or to a system (Alertmanager's meaning)."""

    @abstractmethod
    def send(self, notification: Notification) -> None:
        """Deliver, or say why not. May be called again with the same key after a crash.

        Raises:
            DeliveryError: it was not delivered; the error says whether to try again.
        """


KINDS: tuple[type[Plugin[Any]], ...] = (Collector, Detector, Receiver)
