"""`tocsin report`: the same story from either store and in either format, and nothing left out in silence."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.demo.small_story import HOSTILE, append, fill_sources, fill_verdicts, open_app, tell_story
from tests.report.page import Reader
from tests.stores import only_embedded
from tocsin.cli.main import tocsin
from tocsin.contract.findings import Subject, finding_id
from tocsin.demo.weeks import week
from tocsin.errors import InputError, TocsinError
from tocsin.report import accounts, cases, facts, html, markdown
from tocsin.report.build import report, write
from tocsin.report.counts import Period, count, period
from tocsin.report.document import Document
from tocsin.report.overview import verdict
from tocsin.worker.app import App

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ALERTING = "alerting:\n  route: {receiver: pages}\n  receivers:\n    pages: {type: console}\n"
SINCE, UNTIL = week(0), week(12)


def fill(app: App, folder: Path) -> None:
    """The small story, with what else a report tells: letters, a gap, a baseline, a silent source, an old finding."""
    fill_sources(app, folder)
    fill_verdicts(app)
    append(app, "dead_letter", [
        {"@timestamp": week(3) + n * HOUR, "tocsin.dead_letter.stream": "access", "tocsin.source.id": "logs",
         "tocsin.dead_letter.position": f"log:{n}", "error.message": f"no time {HOSTILE}"}
        for n in range(12)
    ])  # fmt: skip
    start = week(2)
    key = {"tocsin.detector.id": "health", "tocsin.window.start": start, "tocsin.window.end": start + DAY}
    silent = Subject("source", "logs")
    append(app, "run", [
        {**key, "@timestamp": start + DAY, "event.action": "gap", "event.reason": "nobody was there", "event.id": "gap",
         "tocsin.baseline.digest": ""},
        {**key, "@timestamp": start + DAY, "tocsin.detector.id": "former", "event.action": "evaluated", "event.id": "former",
         "tocsin.run.rows": 5, "tocsin.run.searched": start - DAY, "tocsin.baseline.digest": "aaaa,bbbb"},
    ])  # fmt: skip
    append(app, "finding", [
        {**key, "@timestamp": start + DAY, "tocsin.finding.id": finding_id("health", start, start + DAY, silent),
         "tocsin.subject.type": "source", "tocsin.subject.id": "logs", "tocsin.severity": "low", "tocsin.score": 1.2,
         "tocsin.threshold": 1.0, "event.action": "found", "event.reason": "nothing came for 9 h", "event.id": "silent"}
    ])  # fmt: skip
    fill_last_day(app)
    app.alerting.tick(last=True)
    tell_story(app)
    worst = next(a for a in app.alerting.alerts() if a.firing)
    app.alerting.acknowledge(worst.id, "bob", "mine")


def fill_last_day(app: App) -> None:
    """A detector that is still firing: about a model, and less about two principals."""
    start = week(12) - DAY
    key = {"@timestamp": week(12), "tocsin.detector.id": "prediction_drift", "tocsin.window.start": start,
           "tocsin.window.end": week(12)}  # fmt: skip
    subjects = (
        ("model", "credit", 4.0, "critical"),
        ("principal", "p1", 1.7, "medium"),
        ("principal", "p2", 1.6, "medium"),
    )
    rows = [
        {**key, "tocsin.subject.type": type_, "tocsin.subject.id": id, "tocsin.score": score, "tocsin.threshold": 1.0,
         "event.reason": f"moved {score}", "event.id": f"last-{id}"}
        for type_, id, score, _ in subjects
    ]  # fmt: skip
    append(app, "score", rows)
    append(app, "finding", [
        {**row, "event.action": "found", "tocsin.severity": severity, "event.id": f"found-{id}",
         "tocsin.finding.id": finding_id("prediction_drift", start, week(12), Subject(type_, id))}
        for row, (type_, id, _, severity) in zip(rows, subjects, strict=True)
    ])  # fmt: skip
    append(app, "run", [{**key, "event.action": "evaluated", "event.id": "last", "tocsin.run.findings": 3}])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("report")
    opened = open_app(folder, f"namespace: report{os.getpid()}\n{ALERTING}")
    fill(opened, folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def month_report(app: App) -> Document:
    return report(app, SINCE)


def numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d,.]*\d|\d", text)


@only_embedded
def test_both_stores_tell_the_same(tmp_path: Path, elasticsearch_url: str, namespace: str) -> None:
    stores = {"delta": "{type: delta}", "elastic": f"{{type: elasticsearch, hosts: ['{elasticsearch_url}']}}"}
    written = {}
    for name, store in stores.items():
        folder = tmp_path / name
        folder.mkdir()
        opened = open_app(folder, f"namespace: {namespace}\nstore: {store}\n{ALERTING}")
        fill(opened, folder)
        text, pictures = markdown.write(report(opened, SINCE), "pictures")
        text = text.replace(opened.store.place, "PLACE").replace(str(folder), "FOLDER")
        written[name] = text, pictures
        opened.close()
    assert written["delta"][0] == written["elastic"][0]
    assert written["delta"][1] == written["elastic"][1]


def test_both_formats_carry_the_same_numbers(month_report: Document) -> None:
    page, (text, pictures) = html.write(month_report), markdown.write(month_report, "p")
    for section in month_report.sections:
        assert section.title in page
        assert section.title in text
    words = " ".join(part for parts in Reader(page).text.values() for part in parts)
    visible = re.sub(r'\]\(#[^)]*\)|<a id="[^"]*"></a>', "", text)  # without the targets of links
    missing = set(numbers(visible)) - set(
        numbers(words + " ".join(re.findall(r'aria-label="([^"]*)"', page)))
    )
    assert {m for m in missing if f"-{m}.svg" not in text and f"&#{m};" not in text} == set()
    assert page.count("<svg ") == len(pictures) + page.count('<div class="on-narrow">')
    assert page.count('<div class="on-narrow">') == 1


def test_the_first_screen_says_it_all(app: App, month_report: Document) -> None:
    page = html.write(month_report)
    assert month_report.verdict.startswith(
        "1 critical alert is open and acknowledged; 5 incidents are open, 4 of them without an owner"
    )
    assert not month_report.good
    tiles = re.findall(r'<div class="tile"><b>([^<]*)</b><span>([^<]*)</span>', page)
    assert ("5 / 0", "incidents open / closed") in tiles
    assert ("4", "alerts open: 1 critical, 2 medium, 1 low") in tiles
    events = count(app.store, Period(SINCE, UNTIL, open=True)).total
    assert (f"{events:,}", "events ingested, 12 rejected") in tiles
    assert events == 84 * 4 + 60 + 84 + 40 + 3


def test_an_auditor_finds_ranges_digests_and_what_was_missed(month_report: Document) -> None:
    text, _ = markdown.write(month_report, "p")
    assert "nobody was there" in text
    assert re.search(r"\| health \| 2026-01-15 00:00 UTC for 1d \| gap \| 1 ", text)
    assert re.search(r"\| former \|.* 2026-01-14 00:00 UTC \|", text)
    assert "`aaaa`" in text
    assert "`bbbb`" in text
    assert "nothing came for 9 h" in text
    assert "12 events were rejected" in text
    assert "4 more events: see `tocsin events dead_letter --from" in text
    assert "| detector | detects | blind spots |" in text


def test_text_from_logs_stays_text(month_report: Document) -> None:
    page, (text, pictures) = html.write(month_report), markdown.write(month_report, "p")
    assert "<script" not in page
    assert "<script" not in "".join(pictures.values())
    assert "\u202e" not in page + text
    outside = re.sub(r"(?ms)^(> )?```.*?^(> )?```$", "", text)
    assert not re.search(r"(?<!\\)<script", outside)


def test_it_is_well_formed_and_loads_nothing(month_report: Document) -> None:
    reader = Reader(html.write(month_report))
    ids = [given["id"] for _, given in reader.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert not {"script", "link", "img", "iframe"} & {name for name, _ in reader.elements}
    assert all(len(given["aria-label"]) > 40 for name, given in reader.elements if name == "svg")


def test_a_period_holds_its_start_and_not_its_end(app: App) -> None:
    first = week(0) + 9 * HOUR  # the first call of each day comes at nine, four at once
    assert count(app.store, Period(first, first + DAY)).by_stream["inference"] == (4,) + (0,) * 23
    one = count(app.store, Period(first, first + timedelta(microseconds=1)))
    assert sum(one.by_stream["inference"]) == 4
    assert sum(count(app.store, Period(first - DAY / 2, first)).by_stream["inference"]) == 0
    bins = count(app.store, Period(week(0), week(12)))
    assert bins.unit == "a day"
    assert bins.by_stream["inference"] == (4,) * 65 + (64,) + (4,) * 18


def test_without_a_time_it_is_about_the_last_30_days_or_all_there_is(app: App, tmp_path: Path) -> None:
    now = app.clock.now()
    assert period(app.store, app.clock, None, None) == Period(now - 30 * DAY, now, open=True)
    assert period(app.store, app.clock, None, week(2)) == Period(week(0), week(2))
    assert period(app.store, app.clock, week(2), now + DAY) == Period(week(2), now, open=True)
    with pytest.raises(InputError, match="would begin at"):
        period(app.store, app.clock, now, None)


def test_a_period_before_anything_was_found_is_quiet(app: App) -> None:
    quiet = report(app, week(0), week(1))
    assert quiet.verdict.startswith(
        "No window was evaluated, so the absence of alerts proves nothing"
    )  # gaps all of it, and no alert
    assert "Incidents" in [section.title for section in quiet.sections]
    assert "No incident was opened." in html.write(quiet)


def test_an_empty_store_has_nothing_to_tell(tmp_path: Path) -> None:
    opened = open_app(tmp_path)
    empty = report(opened)
    opened.close()
    assert empty.verdict == "No event was ingested and no window was evaluated: there is nothing to report"
    Reader(html.write(empty))
    assert "No event was ingested and no alert was raised" in markdown.write(empty, "p")[0]


def test_findings_without_an_alert_are_told(tmp_path: Path) -> None:
    opened = open_app(tmp_path)
    fill_verdicts(opened)  # and nobody runs alerting
    silent = report(opened, SINCE)
    opened.close()
    assert "4 findings of medium or above raised no alert" in silent.verdict
    assert not silent.good
    assert "Findings without an alert" in html.write(silent)


def test_a_finding_whose_alert_came_after_the_period_is_not_without_one(app: App) -> None:
    """The last windows of a period are evaluated when they are over."""
    cut = facts.gather(app, Period(SINCE, week(12) - HOUR))
    assert "prediction_drift" in cut.findings["tocsin.detector.id"]
    assert not cut.alerts
    assert cut.without_alert.is_empty()


def test_a_time_in_which_nothing_was_judged_is_no_good_news(tmp_path: Path) -> None:
    opened = open_app(tmp_path)
    fill_sources(opened, tmp_path)
    blind = report(opened, SINCE)
    opened.close()
    (tmp_path / "refused").mkdir()
    opened = open_app(tmp_path / "refused")
    append(opened, "dead_letter", [{"@timestamp": week(4), "tocsin.dead_letter.stream": "access"}])
    refused = report(opened, SINCE)
    opened.close()
    assert blind.verdict.startswith("No window was evaluated, so the absence of alerts proves nothing")
    assert "1 event was received and it was rejected" in refused.verdict
    assert not blind.good
    assert not refused.good


def test_a_time_without_anything_but_an_open_incident_is_no_good_news(app: App) -> None:
    known = facts.gather(app, Period(SINCE, UNTIL, open=True))
    quiet = facts.gather(app, Period(week(0) - 2 * DAY, week(0) - DAY))
    assert not (quiet.counted.total or quiet.windows or quiet.alerts)
    owned = [replace(incident, owner="ana") for incident in known.incidents]
    summary, good = verdict(replace(quiet, incidents=owned))
    assert "No window was evaluated" in summary
    assert "incidents are open" in summary
    assert not good


def test_an_alert_over_several_windows_that_were_found_at_once_began_with_the_first(tmp_path: Path) -> None:
    opened = open_app(tmp_path, f"namespace: late\n{ALERTING}")
    key = {"tocsin.detector.id": "query_budget", "tocsin.subject.type": "principal", "tocsin.subject.id": "p"}
    for n in range(3):
        span = {"tocsin.window.start": week(2) + n * DAY, "tocsin.window.end": week(2) + (n + 1) * DAY}
        id = finding_id(
            "query_budget", span["tocsin.window.start"], span["tocsin.window.end"], Subject("principal", "p")
        )
        row = {"@timestamp": span["tocsin.window.end"], **key, **span}
        append(opened, "finding", [
            {**row, "event.id": f"f{n}", "event.action": "found", "tocsin.finding.id": id, "tocsin.severity": "high",
             "tocsin.score": 3.0, "tocsin.threshold": 1.0, "event.reason": "many",
             "tocsin.finding.newest_event": UNTIL - (3 - n) * HOUR}
        ])  # fmt: skip
        append(
            opened,
            "run",
            [{**row, "event.id": f"r{n}", "event.action": "evaluated", "tocsin.run.findings": 1}],
        )
    opened.alerting.tick(last=True)
    known = facts.gather(opened, Period(SINCE, UNTIL, open=True))
    (alert,) = known.alerts
    assert known.to_detect() == facts.Quantiles(3 * HOUR, 3 * HOUR)
    assert known.to_acknowledge() is None
    assert (alert.started, alert.raised - alert.started) == (week(2), UNTIL - week(2))
    cut = facts.gather(opened, Period(SINCE, week(2) + DAY))
    opened.close()
    assert cut.findings.height == 1
    assert cut.without_alert.is_empty()


def test_a_quantile_is_one_of_the_times(app: App) -> None:
    known = facts.gather(app, Period(SINCE, UNTIL, open=True))
    first = known.raised[0]
    times = [None, *(timedelta(minutes=n) for n in range(1, 21))]
    alerts = [
        replace(first, newest_event=UNTIL - length if length else None, notified=UNTIL) for length in times
    ]
    assert replace(known, alerts=alerts).to_detect() == facts.Quantiles(
        timedelta(minutes=10), timedelta(minutes=19)
    )


def test_what_is_left_out_is_said(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "_INCIDENTS", 1)
    monkeypatch.setattr(accounts, "HISTORY", 2)
    text, _ = markdown.write(report(app, SINCE), "p")
    assert "4 more incidents: see `tocsin incidents --all`" in text
    assert re.search(r"\d more lines: see `tocsin events alert_history`", text)
    assert "more alert: see" not in text
    monkeypatch.setattr(cases, "_ALERTS", 1)
    text, _ = markdown.write(report(app, SINCE), "p")
    assert "1 more alert: see `tocsin alerts --all`" in text


def test_alerts_are_told_from_history_when_the_state_has_forgotten_them(
    app: App, month_report: Document
) -> None:
    known = facts.gather(app, Period(SINCE, UNTIL, open=True))
    by_state = {(a.fingerprint, a.severity) for a in app.alerting.alerts()}
    assert {(a.fingerprint, a.severity) for a in known.alerts} == by_state
    assert {a.acknowledged is not None for a in known.alerts} == {True, False}


def run(folder: Path, *arguments: str) -> Any:
    return CliRunner().invoke(tocsin, ["-c", str(folder / "tocsin.yaml"), "report", *arguments])


def test_the_command_writes_either_format(tmp_path: Path) -> None:
    opened = open_app(tmp_path)
    fill(opened, tmp_path)
    opened.close()
    time = ("--since", "2026-01-01", "--until", "2026-03-27")
    done = run(tmp_path, *time, "--format", "md", "--output", str(tmp_path / "r.md"))
    assert done.exit_code == 0, done.output
    pictures = sorted(p.name for p in (tmp_path / "r-pictures").iterdir())
    assert {"scores.svg", "timeline.svg", "alert-1.svg"} <= set(pictures)
    text = (tmp_path / "r.md").read_text()
    assert all(f"](r-pictures/{name})" in text for name in pictures)
    done = run(tmp_path, *time, "--output", str(tmp_path / "r.html"))
    assert done.exit_code == 0, done.output
    Reader((tmp_path / "r.html").read_text("utf-8"))


def test_mistakes_are_said_in_a_line(tmp_path: Path) -> None:
    opened = open_app(tmp_path)
    assert "is not before --until" in run(tmp_path, "--since", "2026-02-01", "--until", "2026-01-01").output
    assert "is not a time" in run(tmp_path, "--since", "yesterday").output
    with pytest.raises(InputError, match="cannot be written"):
        write(report(opened), tmp_path / "no" / "r.html")
    opened.close()


def test_without_matplotlib_it_says_what_to_install(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TocsinError, match=r"pip install 'tocsin\[report\]'"):
        report(app, SINCE)
