"""The demo's report, written from a small store made by hand: whole, safe to open, and complete."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.small_story import ATTACKS, fill_sources, fill_verdicts, open_app, tell_story
from tests.report.page import Reader
from tocsin.contract import atlas
from tocsin.contract.findings import Subject
from tocsin.demo import report
from tocsin.demo.outcome import Attack, Detection, Story
from tocsin.demo.timing import decisive, page
from tocsin.demo.weeks import week
from tocsin.errors import TocsinError
from tocsin.report import html
from tocsin.report.pictures import canvas
from tocsin.worker.app import App


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Story]]:
    folder = tmp_path_factory.mktemp("demo")
    app = open_app(folder)
    fill_sources(app, folder)
    fill_verdicts(app)
    app.alerting.tick(last=True)
    yield app, tell_story(app)
    app.close()


@pytest.fixture(scope="module")
def written(simulated: tuple[App, Story], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("out") / "report.html"
    report.write(*simulated, path)
    return path.read_text("utf-8")


def test_it_is_well_formed_and_its_ids_are_unique(written: str) -> None:
    reader = Reader(written)
    ids = [given["id"] for _, given in reader.elements if "id" in given]
    assert len(ids) == len(set(ids))
    used = re.findall(r'href="#([^"]+)"', written) + re.findall(r"url\(#([^)]+)\)", written)
    assert set(used) <= set(ids)


def test_it_loads_nothing(written: str) -> None:
    reader = Reader(written)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {
        e for e, _ in reader.elements
    }
    for _, given in reader.elements:
        assert not {"src", "srcset", "data", "action"} & given.keys()
        assert not any(name.startswith("on") for name in given)
        assert all(given[name].startswith("#") for name in ("href", "xlink:href") if name in given)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", written))
    assert "@import" not in written
    assert "default-src &#x27;none&#x27;" in written


def test_text_from_logs_stays_text(written: str) -> None:
    assert "<script" not in written
    assert "\u202e" not in written
    assert "&lt;script&gt;alert(&#x27;pwned&#x27;)" in written


def test_every_part_is_there(written: str) -> None:
    reader = Reader(written)
    headings = " | ".join("".join(reader.text[name]) for name in ("h1", "h2", "h3"))
    for part in ("4 of 4 attacks found", "Twelve weeks at a glance", "Scores against thresholds",
                 "Poisoned partner feed", "Model copied", "Shift in applicants", "Stolen account",
                 "What Tocsin found", "Evidence", "Incidents and their playbooks", "History",
                 "Quiet weeks", "Coverage: which windows were evaluated", "Next commands",
                 "Appendix", "Worst alerts"):  # fmt: skip
        assert part in headings
    for fact in ("decisive event to page", "first act to page", "49 of 60 acts to come"):
        assert fact in written
    assert f"AML.T0020 {atlas.name('AML.T0020')}" in written
    assert "2026-03-02" in written
    assert " UTC</time>" in written


def test_the_page_is_the_first_notification_of_high_or_above(simulated: tuple[App, Story]) -> None:
    store = simulated[0].store
    for _, _, _, subject, _ in ATTACKS:
        assert page(store, week(0), week(13), [subject]) == week(12)
    assert page(store, week(0), week(12), [ATTACKS[0][3]]) is None
    assert page(store, week(0), week(13), [Subject("principal", "broker-01")]) is None


def test_no_decisive_event_without_the_baselines_of_the_final_evaluation(
    simulated: tuple[App, Story],
) -> None:
    for number, _, _, subject, _ in ATTACKS:
        assert decisive(simulated[0], week(number), week(number + 1), [subject]) is None


def test_every_picture_says_what_it_shows(written: str) -> None:
    pictures = [given for name, given in Reader(written).elements if name == "svg"]
    assert (
        len(pictures) == 6 + 4 + 1
    )  # one of each alert of an incident, the timeline also for narrow screens
    for given in pictures:
        assert given["role"] == "img"
        assert len(given["aria-label"]) > 40
    colors = set(re.findall(r"(?:fill|stroke): (#\w+)", written))
    assert not colors & set(canvas.VARIABLES)


def test_it_is_small_and_the_same_each_time(
    simulated: tuple[App, Story], written: str, tmp_path: Path
) -> None:
    assert len(written.encode()) < 3_000_000
    report.write(*simulated, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == written


def test_the_incident_is_a_checklist(simulated: tuple[App, Story], written: str) -> None:
    incident = simulated[1].incidents[0]
    states = {"done", "pending", "skipped"}
    steps = [g for name, g in Reader(written).elements if name == "li" and g["class"] in states]
    assert len(steps) == sum(len(i.steps) for i in simulated[1].incidents)
    assert sum(given["class"] == "done" for given in steps) == 1
    assert html.escape(incident.steps[0].name) in written
    assert "done by ana: read" in written
    assert "on it &lt;script&gt;" in written


def test_missed_attacks_and_false_alarms_are_said(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    missed = [
        Detection(Attack(name, technique, week(number), number, (subject,), {}))
        for number, name, technique, subject, _ in ATTACKS
    ]
    story = Story(1, missed, false_alarms=[{}])
    report.write(app, story, tmp_path / "report.html")
    app.close()
    text = (tmp_path / "report.html").read_text("utf-8")
    Reader(text)
    for sentence in (
        "0 of 4 attacks found",
        "1 false alarm in the quiet weeks",
        "missed</span>",
        "No incident was",
    ):
        assert sentence in text


def test_a_story_in_which_nothing_happened(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    report.write(app, Story(1), tmp_path / "report.html")
    app.close()
    Reader((tmp_path / "report.html").read_text("utf-8"))


def test_without_matplotlib_it_says_what_to_install(
    simulated: tuple[App, Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TocsinError, match=r"pip install 'tocsin\[report\]'"):
        report.write(*simulated, tmp_path / "report.html")
