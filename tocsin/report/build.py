"""The report of a period: reads the facts, arranges the sections, writes the files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

from tocsin.errors import InputError
from tocsin.report import html, markdown, overview, proof
from tocsin.report.appendix import Appendix
from tocsin.report.cases import Cases
from tocsin.report.counts import period
from tocsin.report.document import Document, minute
from tocsin.report.facts import Facts, gather
from tocsin.report.pictures import canvas
from tocsin.report.pictures.canvas import Calendar
from tocsin.store.private import private_files
from tocsin.worker.app import App

Format = Literal["html", "md"]


def report(
    app: App,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Document:
    """The report of a store for a period, by default the last 30 days.

    Raises:
        InputError: the period ends before it begins.
        TocsinError: matplotlib is not installed.
        StoreError: the store cannot be read.
    """
    canvas.check()
    facts = gather(app, period(app.store, app.clock, since, until), progress)
    calendar = Calendar(facts.period.start, facts.period.end)
    summary, good = overview.verdict(facts)
    progress("drawing")
    appendix = Appendix()
    cases = Cases(app, facts, calendar, appendix)
    return Document(
        eyebrow=f"Tocsin · report on {app.store.namespace} · {_time(facts)}",
        verdict=summary,
        good=good,
        head=overview.head(app, facts, cases.targets),
        sections=[
            overview.at_a_glance(app, facts, calendar),
            overview.against_thresholds(app, facts, calendar),
            cases.incidents(),
            cases.alone(),
            proof.coverage_section(app, facts),
            proof.how_to_read(app, facts),
            appendix.section(app, facts),
        ],
    )


def _time(facts: Facts) -> str:
    return f"{minute(facts.period.start)} to {minute(facts.period.end)}"


def write(document: Document, path: Path, format: Format = "html") -> list[Path]:
    """Write a document: one HTML file, or a Markdown file with a folder of pictures beside it.

    Returns:
        The files written, the document first.

    Raises:
        InputError: a file cannot be written.
    """
    folder = path.with_name(f"{path.stem}-pictures")
    if format == "html":
        text, pictures = html.write(document), dict[str, str]()
    else:
        text, pictures = markdown.write(document, folder.name)
    try:
        with private_files():
            if pictures:
                folder.mkdir(exist_ok=True)
            for name, svg in pictures.items():
                (folder / name).write_text(svg, "utf-8")
            path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror}") from error
    return [path, *(folder / name for name in pictures)]
