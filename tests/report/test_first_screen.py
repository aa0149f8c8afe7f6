"""The first screen names the worst alerts, their subject and the next step; technical measures are in the appendix."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.demo.small_story import append, open_app
from tests.report.page import Reader
from tests.report.test_report import ALERTING, SINCE, fill
from tocsin.contract.findings import Severity, Subject, finding_id
from tocsin.contract.incidents import StepState
from tocsin.demo.weeks import week
from tocsin.report import document as doc
from tocsin.report import facts, html, markdown
from tocsin.report.build import report
from tocsin.report.counts import Period
from tocsin.report.worst import worst
from tocsin.worker.app import App

DAY = timedelta(days=1)
DIGEST = f"sha256:{'5' * 64}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("first")
    opened = open_app(folder, f"namespace: first{os.getpid()}\n{ALERTING}")
    fill(opened, folder)
    start = week(11)
    measured = {"p": 3.25e-9, "rows": 17, "snapshot": DIGEST, "odd": [{"row": 4, "p": 7.5e-9}]}
    append(opened, "finding", [
        {"@timestamp": start + DAY, "tocsin.detector.id": "label_poisoning", "tocsin.window.start": start,
         "tocsin.window.end": start + DAY, "tocsin.subject.type": "dataset", "tocsin.subject.id": "loans",
         "tocsin.finding.id": finding_id("label_poisoning", start, start + DAY, Subject("dataset", "loans")),
         "tocsin.severity": "critical", "tocsin.score": 9.0, "tocsin.threshold": 1.0, "event.action": "found",
         "event.reason": "17 rows changed", "tocsin.evidence": json.dumps(measured), "event.id": "measured"}
    ])  # fmt: skip
    opened.alerting.tick(last=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def known(app: App) -> facts.Facts:
    return facts.gather(app, Period(SINCE, week(12), open=True))


@pytest.fixture(scope="module")
def written(app: App) -> doc.Document:
    return report(app, SINCE)


def notices(app: App, known: facts.Facts) -> list[doc.Notice]:
    blocks = worst(app.store, known, ())
    return list(blocks[1].items) if len(blocks) > 1 and isinstance(blocks[1], doc.Notices) else []


def plain(line: doc.Line) -> str:
    return "".join(part if isinstance(part, str) else getattr(part, "text", "") for part in doc.inlines(line))


def test_it_names_subject_reason_and_next_step_before_any_figure(written: doc.Document) -> None:
    page = html.write(written)
    first = page[: page.index('<div class="tiles">')]
    assert "Worst alerts" in first
    assert re.search(r'<strong><a href="#incident-[^"]+">dataset loans</a></strong>', first)
    assert "17 rows changed" in first
    assert re.search(
        r"Next step: </strong>acknowledge the incident: <code>tocsin ack inc-\w+ --by NAME</code>", first
    )
    ids = {given["id"] for _, given in Reader(page).elements if "id" in given}
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids
    text, _ = markdown.write(written, "p")
    first = text[: text.index("alerts open")]
    assert re.search(r"- \*\*critical\*\* \[dataset loans\]\(#incident-[^)]+\) incident since ", first)
    assert "**Next step:** acknowledge the incident: `tocsin ack inc-" in first
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(re.findall(r'<a id="([^"]+)">', text))


def test_open_ones_come_first_then_the_worst_then_those_without_an_owner(
    app: App, known: facts.Facts
) -> None:
    shown = notices(app, known)
    assert [n.severity for n in shown] == [Severity.CRITICAL] * 4
    assert "dataset loans" in [plain(n.subject) for n in shown]
    closed = [replace(i, closed=week(11)) if i.subject.id == "loans" else i for i in known.incidents]
    order = [
        plain(n.subject)
        for n in notices(app, replace(known, incidents=closed, period=Period(SINCE, week(12))))
    ]
    assert "dataset loans" not in order
    owned = [
        replace(i, owner="ana") if i.subject.id == "loans" else replace(i, owner="") for i in known.incidents
    ]
    order = [plain(n.subject) for n in notices(app, replace(known, incidents=owned))]
    assert "dataset loans" not in order[:3]


def test_the_next_step_follows_from_the_state(app: App, known: facts.Facts) -> None:
    incident = next(i for i in known.incidents if len(i.steps) > 1)

    def step(**changes: Any) -> str:
        only = replace(known, alerts=[], incidents=[replace(incident, **changes)])
        return plain(notices(app, only)[0].next_step)

    first, second, *rest = incident.steps
    pending = [replace(s, state=StepState.PENDING) for s in (first, second, *rest)]
    done = [replace(s, state=StepState.DONE) for s in pending]
    assert step(owner="", steps=tuple(pending)) == (
        f"acknowledge the incident: tocsin ack {incident.id} --by NAME. Then step 1 of the playbook: “{first.name}”."
    )
    half = (done[0], *pending[1:])
    assert step(owner="ana", steps=half) == f"step 2 of the playbook, “{second.name}”. Owner: ana."
    assert step(owner="ana", steps=tuple(done)).startswith(
        f"close the incident: tocsin incidents {incident.id} --close"
    )
    closed = replace(known, alerts=[], incidents=[replace(incident, closed=week(11))])
    closed = replace(closed, period=Period(SINCE, week(12)))
    assert plain(notices(app, closed)[0].next_step) == "none, the incident is closed."


def test_the_next_step_of_an_alert_without_an_incident(app: App, known: facts.Facts) -> None:
    alert = replace(known.alerts[0], incident="", resolved=None, acknowledged=None, by="")

    def step(**changes: Any) -> str:
        return plain(
            notices(app, replace(known, incidents=[], alerts=[replace(alert, **changes)]))[0].next_step
        )

    assert step() == f"acknowledge the alert: tocsin ack {alert.fingerprint} --by NAME"
    assert step(acknowledged=week(12), by="bob") == "check the evidence. bob has acknowledged the alert."
    assert step(resolved=week(12)) == "none, the alert is resolved."
    assert worst(app.store, replace(known, incidents=[], alerts=[]), ()) == []


def test_p_values_and_digests_are_in_the_appendix_only(written: doc.Document) -> None:
    page, (text, _) = html.write(written), markdown.write(written, "p")
    assert written.sections[-1].title == "Appendix: p-values, digests and complete evidence"
    for whole in (page, text):
        body, _, appendix = whole.rpartition("Appendix: p-values, digests and complete evidence")
        for measure in (DIGEST, "3.25e-09", "7.5e-09", "aaaa", "bbbb"):
            assert measure not in body
            assert measure in appendix
        assert "rows" in body


def test_the_timeline_has_a_drawing_of_the_newest_days_for_narrow_screens(written: doc.Document) -> None:
    drawn = next(b for b in written.sections[0].blocks if isinstance(b, doc.Picture))
    assert drawn.narrow is not None
    assert drawn.narrow.caption.startswith("From 12 March 2026 on; a wider screen shows the whole period.")
    assert "from 12 March 2026 to 26 March 2026" in drawn.narrow.label
    assert "from 01 January 2026" in drawn.label
    width = [float(re.findall(r'width="([\d.]+)pt"', p.svg)[0]) for p in (drawn.narrow, drawn)]
    assert width[0] < 300 < width[1]


def test_wide_tables_and_pictures_say_that_they_scroll(written: doc.Document) -> None:
    page = html.write(written)
    assert html.block(doc.Table(list("abcdef"), [])).startswith(
        '<p class="hint">This table is wider than the screen: scroll it sideways →</p>'
        '<div class="wide" tabindex="0" role="group" aria-label="Scrollable table">'
    )
    assert "hint" not in html.block(doc.Table(list("abcde"), []))
    scrolling = page.count('role="group"')
    assert scrolling == page.count('<p class="hint">') > 3
