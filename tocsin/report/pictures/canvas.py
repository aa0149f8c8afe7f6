"""Colors, time axes and SVG output for all pictures.

A picture is drawn in the colors below. On a page each color becomes a CSS variable, so that one picture fits
the light and the dark theme; a picture in a separate file keeps the colors. They are the palette of Okabe and
Ito (2008), which readers with any kind of color vision can distinguish. A shape or a word always repeats what a
color means.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.clock import EPOCH, floor_time
from tocsin.contract.findings import Severity
from tocsin.errors import TocsinError
from tocsin.report.document import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER = "#1b1f24", "#5b6470", "#d5d9df", "#fefefe"
BLUE, SKY, GREEN, ORANGE, YELLOW, RED, PURPLE = (
    "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#f0e442", "#d55e00", "#cc79a7",
)  # fmt: skip
#: The CSS variable of each color; `report.css` sets them for both themes.
VARIABLES: Mapping[str, str] = {
    INK: "--ink", SOFT: "--soft", LINE: "--line", PAPER: "--paper", BLUE: "--blue", SKY: "--sky",
    GREEN: "--green", ORANGE: "--orange", YELLOW: "--yellow", RED: "--red", PURPLE: "--purple",
}  # fmt: skip
#: Color and marker of a severity.
SEVERITY: Mapping[Severity, tuple[str, str]] = {
    Severity.INFO: (LINE, "."),
    Severity.LOW: (SKY, "o"),
    Severity.MEDIUM: (YELLOW, "^"),
    Severity.HIGH: (ORANGE, "D"),
    Severity.CRITICAL: (RED, "*"),
}

_STYLE: Any = {
    "svg.fonttype": "path",  # looks the same with any installed fonts
    "text.parse_math": False,  # a dollar sign in a log does not start a formula
    "svg.hashsalt": "tocsin",
    "path.simplify_threshold": 0.5,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}
_COMMENT = re.compile("<!--.*?-->", re.DOTALL)
_ID = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')


def check() -> None:
    """Check that pictures can be drawn, before the store is read for them.

    Raises:
        TocsinError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise TocsinError(
            "a report needs matplotlib for its pictures, which is not installed: pip install 'tocsin[report]'"
        ) from error


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, in the style of the report.

    Raises:
        TocsinError: matplotlib is not installed.
    """
    check()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def picture(drawn: Figure, name: str, label: str, caption: str = "") -> Picture:
    """A drawn figure as a part of a document. `label` describes it in a sentence, `name` is unique."""
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph", UserWarning
        )  # a character that the font lacks becomes a box
        drawn.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = text[: text.index("<metadata>")] + text[text.index("</metadata>") + 11 :]
    text = _COMMENT.sub("", text)
    # Matplotlib derives ids from exact positions, which differ between runs: numbers replace them.
    known: dict[str, int] = {}
    text = _ID.sub(lambda found: f"{found[1]}{name}-{known.setdefault(found[2], len(known))}", text)
    return Picture(name, text, label, caption)


# Time


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded time in pictures. If it has a `number`, small pictures show that in place of `name`."""

    start: datetime
    end: datetime
    name: str
    color: str = SOFT
    number: int | None = None

    @property
    def middle(self) -> float:
        """The middle in matplotlib's unit of time, days."""
        return (day(self.start) + day(self.end)) / 2


@dataclass(frozen=True, slots=True)
class Calendar:
    """The period of a report, with the bands and ticks of its pictures.

    `ticks` are the labels of the time axis; without them they follow from the length of the period. `note`
    explains the bands in captions.
    """

    start: datetime
    end: datetime
    bands: Sequence[Band] = ()
    ticks: Sequence[tuple[datetime, str]] = ()
    note: str = ""

    def caption(self, words: str) -> str:
        """A caption followed by the note on the bands."""
        return f"{words} {self.note}".rstrip()


_STEPS = tuple(timedelta(hours=h) for h in (1, 3, 6, 12)) + tuple(
    timedelta(days=d) for d in (1, 2, 7, 14, 28, 91, 364)
)
MOST_TICKS = 12  # below the widest axis


def shade(axes: Axes, calendar: Calendar) -> None:
    """Shade the bands of a calendar."""
    for band in calendar.bands:
        start, end = day(band.start), day(band.end)
        axes.axvspan(start, end, facecolor=band.color, alpha=0.08, linewidth=0, zorder=0)
        for edge in (start, end):
            axes.axvline(edge, color=PAPER, linewidth=1.5, zorder=0.5)


def time_axis(axes: Axes, calendar: Calendar, *, named: bool = True, most: int = MOST_TICKS) -> None:
    """An x axis over the period of a calendar with at most `most` ticks; `named` writes their labels."""
    axes.set_xlim(day(calendar.start), day(calendar.end))
    ticks = calendar.ticks if calendar.ticks and most >= MOST_TICKS else _ticks(calendar, most)
    axes.set_xticks([day(time) for time, _ in ticks], [words if named else "" for _, words in ticks])
    axes.tick_params(axis="x", length=0)


def _ticks(calendar: Calendar, most: int) -> list[tuple[datetime, str]]:
    length = calendar.end - calendar.start
    step = next((s for s in _STEPS if length / s < most), length)
    first = floor_time(calendar.start, min(step, timedelta(days=1)))
    times = (first + n * step for n in range(most + 1))
    written = "%d %b" if step >= timedelta(days=1) else "%d %b\n%H:%M"
    return [(time, f"{time:{written}}") for time in times if calendar.start <= time <= calendar.end]


def day(time: datetime) -> float:
    """A time in matplotlib's unit: days since 1970-01-01 UTC."""
    return (time - EPOCH) / timedelta(days=1)


def marker(severity: Severity) -> dict[str, Any]:
    """The style of a severity's marker. An edge separates every color from the ground; critical is larger."""
    size = 11 if severity is Severity.CRITICAL else 7
    return {"markersize": size, "markeredgecolor": INK, "markeredgewidth": 0.8, "linestyle": "none"}


def label(text: str) -> str:
    """Text from a log for a picture: printable, on one line, at most 28 characters."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[:29])
    return shown if len(text) <= 28 else f"{shown[:27]}…"


def thousands(value: float, _: Any = None) -> str:
    """An axis label: 12,000 as `12k`."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"
