"""`tocsin explain`: why a finding was made, and how far it was from not being one."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from tocsin.cli.context import open_app
from tocsin.cli.detect import finding_row
from tocsin.cli.output import json_option, print_lines, show
from tocsin.cli.tables import short_time, style_of, wrap
from tocsin.cli.values import clean, text
from tocsin.contract.findings import Severity
from tocsin.contract.severities import Severities
from tocsin.errors import InputError
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.store.protocol import Store
    from tocsin.worker.app import App

_BARS = 30  # windows in the plot: the newest up to that of the finding
_LABEL, _NUMBER = 10, 7  # columns for the day and for the score
_NARROWEST = 20  # columns of the longest bar
_TITLES = ("False alarms", "Blind spots", "Respond")


@click.command()
@click.argument("finding")
@json_option
@click.pass_context
def explain(ctx: click.Context, finding: str, as_json: bool) -> None:
    """Explain FINDING: why it was made, how far the score was from the threshold, and how unusual it is.

    FINDING is the id of a finding, or an unambiguous prefix of it: see `tocsin findings --json`.
    """
    found = explained(open_app(ctx), finding)
    if as_json:
        show([found.to_dict()], (), as_json=True, empty="")
    else:
        print_lines(found.lines)


@dataclass(frozen=True, slots=True)
class Past:
    """A score of the same subject: the start of its window, the score as a multiple of the threshold."""

    start: datetime
    ratio: float


@dataclass(frozen=True, slots=True)
class Explained:
    """A finding with what explains it.

    `own`: the subject's scores up to the finding's window, oldest first. `others`: the scores of other subjects in that
    window, as multiples of the threshold. `advice`: sections of the detector's description. `severities`: its table.
    """

    finding: Mapping[str, Any]
    own: Sequence[Past]
    others: Sequence[float]
    advice: Mapping[str, str]
    severities: Severities

    @property
    def ratio(self) -> float:
        """The score divided by the threshold."""
        return _ratio(self.finding)

    def to_dict(self) -> dict[str, Any]:
        """The explanation under the keys that `--json` prints."""
        before = [past.ratio for past in self._before()]
        return {
            **finding_row(dict(self.finding)),
            "ratio": self.ratio,
            "next_severity": self._next(),
            "earlier_windows": len(before),
            "earlier_highest_ratio": max(before, default=None),
            "other_subjects": len(self.others),
            "other_subjects_highest_ratio": max(self.others, default=None),
            "ratios": {short_time(past.start): past.ratio for past in self.own},
            "advice": dict(self.advice),
        }

    def lines(self, width: int | None) -> Iterator[Text]:
        """The explanation for a terminal of a width; for None nothing is wrapped."""
        row = self.finding
        severity = row["tocsin.severity"]
        yield Text.assemble(
            (severity.upper(), style_of(severity)),
            f"  {row['tocsin.detector.id']}  ",
            (clean(f"{row['tocsin.subject.type']} {row['tocsin.subject.id']}"), "bold"),
            f"  {short_time(row['tocsin.window.start'])} UTC",
        )
        yield from _paragraph(row["event.reason"], width)
        for title, sentences in (
            ("How far from not firing", self._distance()),
            ("How unusual", self._unusual()),
        ):
            yield from (Text(), Text(title, style="bold"))
            for sentence in sentences:
                yield from _paragraph(sentence, width, "  ")
        if self.own:
            yield from (Text(), Text("Scores of this subject, as multiples of the threshold", style="bold"))
            yield from self._plot(width)
        for title, words in self.advice.items():
            yield from (Text(), Text(title, style="bold"))
            yield from _paragraph(words, width, "  ")
        yield from (Text(), Text("Evidence: tocsin alerts ID, or tocsin findings --json"))

    def _distance(self) -> Iterator[str]:
        score, threshold = self.finding["tocsin.score"], self.finding["tocsin.threshold"]
        less = 100 * (1 - threshold / score)
        yield (
            f"The score is {text(score)}, {self.ratio:.1f} times the threshold of {text(threshold)}. "
            f"With a score lower by {less:.0f} % it would be no finding."
        )
        following = self._next()
        if following is not None:
            name, ratio = following
            yield f"From a score of {text(ratio * threshold)} on it would be {name}."

    def _next(self) -> tuple[str, float] | None:
        """The next higher severity, and the multiple of the threshold at which it begins."""
        own = Severity(self.finding["tocsin.severity"])
        above = [(s.value, ratio) for s, ratio in self.severities.worst_first() if s.rank > own.rank]
        return next(((name, ratio) for name, ratio in reversed(above) if ratio > self.ratio), None)

    def _before(self) -> Sequence[Past]:
        return [past for past in self.own if past.start < self.finding["tocsin.window.start"]]

    def _unusual(self) -> Iterator[str]:
        before = [past.ratio for past in self._before()]
        if before:
            over = sum(ratio >= 1 for ratio in before)
            yield (
                f"{count(len(before), 'earlier window')} of this subject: the highest score was {max(before):.1f} times "
                f"the threshold; {over:,} reached it."
            )
        else:
            yield "No earlier window of this subject has a score."
        if self.others:
            yield (
                f"{count(len(self.others), 'other subject')} in the same window: the highest score was "
                f"{max(self.others):.1f} times the threshold; {sum(r >= 1 for r in self.others):,} reached it."
            )

    def _plot(self, width: int | None) -> Iterator[Text]:
        """A bar for each window; the mark is the threshold."""
        shown = self.own[-_BARS:]
        room = max((width or 80) - _LABEL - _NUMBER - 6, _NARROWEST)
        scale = (room - 1) / max(1.0, *(past.ratio for past in shown))
        mark = round(scale)
        for past in shown:
            size = round(past.ratio * scale)
            bar = "".join(
                "│" if column == mark else "█" if column < size else " " for column in range(room + 1)
            )
            style = "" if past.ratio < 1 else style_of(self.finding["tocsin.severity"])
            yield Text.assemble(
                f"  {short_time(past.start, 'days'):<{_LABEL}}  ",
                f"{past.ratio:>{_NUMBER}.2f}  ",
                (bar.rstrip(), style),
            )


def explained(app: App, id: str) -> Explained:
    """The explanation of the finding whose id begins with `id`.

    Raises:
        InputError: no finding has this id, or several have.
    """
    from tocsin.pipeline.detecting.records import newest_findings
    from tocsin.pipeline.detecting.settings import severities_of

    found = [
        row
        for row in newest_findings(app.store).iter_rows(named=True)
        if id and row["tocsin.finding.id"].startswith(id)
    ]
    if not found:
        raise InputError(
            f"no finding has an id that begins with {id!r}; `tocsin findings --json` lists the ids"
        )
    if len(found) > 1:
        raise InputError(f"{len(found)} findings begin with {id!r}; write more of the id")
    [row] = found
    own, others = _scores(app.store, row)
    detector = row["tocsin.detector.id"]
    advice = next((_advice(s.detector) for s in app.settings if s.detector.id == detector), {})
    return Explained(row, own, others, advice, severities_of(app.settings, detector))


def _scores(store: Store, finding: Mapping[str, Any]) -> tuple[list[Past], list[float]]:
    import polars as pl

    from tocsin.contract.frames import NEWEST_LAST
    from tocsin.contract.query import Condition
    from tocsin.contract.streams import ASPECT

    start, key = "tocsin.window.start", ["tocsin.subject.type", "tocsin.subject.id"]
    where = [
        Condition("tocsin.detector.id", "==", finding["tocsin.detector.id"]),
        Condition(start, "<=", finding[start]),
    ]
    same = pl.col(ASPECT).eq_missing(pl.lit(finding[ASPECT], pl.String))
    rows = store.scan("score", where=where).filter(same).sort(NEWEST_LAST, maintain_order=True)
    newest = rows.unique([start, *key], keep="last").sort(start, *key).collect()
    own, others = {finding[start]: _ratio(finding)}, list[float]()  # an early finding has no stored score
    for row in newest.iter_rows(named=True):
        if all(row[name] == finding[name] for name in key):
            own[row[start]] = _ratio(row)
        elif row[start] == finding[start]:
            others.append(_ratio(row))
    return [Past(at, own[at]) for at in sorted(own)], others


def _ratio(row: Mapping[str, Any]) -> float:
    return float(row["tocsin.score"] / row["tocsin.threshold"])


def _advice(detector: object) -> dict[str, str]:
    """Sections of the description of a detector: a title in a line of its own, and indented text."""
    found = dict[str, str]()
    title = ""
    for line in inspect.cleandoc(type(detector).__doc__ or "").splitlines():
        if line and not line.startswith(" "):
            title = line
        elif title in _TITLES:
            found[title] = f"{found.get(title, '')} {line.strip()}".strip()
    return {name: found[name] for name in _TITLES if name in found}


def _paragraph(sentence: str, width: int | None, indent: str = "") -> Iterator[Text]:
    room = None if width is None else max(width - len(indent), _NARROWEST)
    lines = [clean(sentence)] if room is None else wrap(clean(sentence), room)
    return (Text(textwrap.indent(line, indent)) for line in lines)


COMMANDS = (explain,)
