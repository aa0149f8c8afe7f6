"""What all pictures share: colors that follow the page's light or dark theme, and figures as inline SVG.

A picture is drawn in the colors below. In the SVG each of them becomes a CSS variable that the page
sets, so that one picture serves both themes. The colors are those of Okabe and Ito (2008), which people
with any kind of color vision tell apart; what a color says is always said by a shape or a word too.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.clock import EPOCH
from tocsin.demo.lender import START, WEEKS
from tocsin.demo.outcome import QUIET, TRUSTED
from tocsin.demo.page import Html, picture
from tocsin.errors import TocsinError
from tocsin.findings import Severity

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
    "svg.fonttype": "path",  # looks the same wherever it is read, whatever fonts are there
    "text.parse_math": False,  # a dollar sign in a log is no formula
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
_ID = re.compile(r'(\bid="|href="#|url\(#)')
_COLOR = re.compile("|".join(VARIABLES))


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, drawn in the report's style.

    Raises:
        TocsinError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TocsinError(
            "the demo's report needs matplotlib, which is not installed: pip install 'tocsin[demo]'"
        ) from error
    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def inline(drawn: Figure, name: str, label: str, caption: str = "") -> Html:
    """A drawn figure as a part of the page. `label` says in words what it shows, `name` is unique."""
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a sign that the font lacks is a box
        drawn.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = text[: text.index("<metadata>")] + text[text.index("</metadata>") + 11 :]
    text = _COMMENT.sub("", text)
    text = _ID.sub(lambda found: f"{found[1]}{name}-", text)
    text = _COLOR.sub(lambda found: f"var({VARIABLES[found[0]]})", text)
    return picture(Html(text), label, caption)


# The twelve weeks


def phases() -> Iterator[tuple[str, datetime, datetime]]:
    """The stretches before the attacks: what baselines learn from, and the quiet weeks."""
    yield "baselines learn from these weeks", week(0), week(TRUSTED)
    yield "quiet weeks", week(QUIET.start), week(QUIET.stop)


def week(number: int) -> datetime:
    """The first moment of a week, counted from 0."""
    return START + timedelta(weeks=number)


def shade_weeks(axes: Axes, attacks: Mapping[int, int]) -> None:
    """Shade the weeks by what they are; `attacks` gives the number of the attack in a week."""
    for place, (_, start, end) in enumerate(phases()):
        color = BLUE if place else SOFT
        axes.axvspan(day(start), day(end), facecolor=color, alpha=0.07, linewidth=0, zorder=0)
    for number in attacks:
        start, end = week(number), week(number + 1)
        axes.axvspan(day(start), day(end), facecolor=RED, alpha=0.08, linewidth=0, zorder=0)
    for number in range(1, WEEKS):
        strong = number in attacks or number in {QUIET.start, QUIET.stop}
        color, width = (PAPER, 1.5) if strong else (LINE, 0.5)
        axes.axvline(day(week(number)), color=color, linewidth=width, zorder=0.5)


def weeks_axis(axes: Axes, *, named: bool) -> None:
    """An x axis over the twelve weeks, with a tick at the middle of each; `named` writes their numbers."""
    axes.set_xlim(day(START), day(week(WEEKS)))
    axes.set_xticks([day(week(n)) + 3.5 for n in range(WEEKS)])
    axes.set_xticklabels([f"week {n + 1}\n{week(n):%d %b}" for n in range(WEEKS)] if named else [])
    axes.tick_params(axis="x", length=0)


def day(time: datetime) -> float:
    """A time as matplotlib counts it: days since 1970-01-01 UTC."""
    return (time - EPOCH) / timedelta(days=1)


def marker(severity: Severity) -> dict[str, Any]:
    """How a severity's marker is drawn: with an edge, so that every color stands out, worse ones larger."""
    size = 11 if severity is Severity.CRITICAL else 7
    return {"markersize": size, "markeredgecolor": INK, "markeredgewidth": 0.8, "linestyle": "none"}


def label(text: str) -> str:
    """Text from a log, short and on one line, fit to stand in a picture."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[:29])
    return shown if len(text) <= 28 else f"{shown[:27]}…"


def thousands(value: float, _: Any = None) -> str:
    """An axis label: 12,000 as `12k`."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"
