"""The demo's report, written from a small store made by hand: whole, safe to open, and complete."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.demo.small_story import ATTACKS, HOSTILE, fill_sources, fill_verdicts, open_app, tell_story
from tocsin import atlas
from tocsin.app import App
from tocsin.demo import evidence, page, report
from tocsin.demo.lender import START
from tocsin.demo.outcome import Attack, Detection, Story
from tocsin.demo.pictures import canvas
from tocsin.errors import TocsinError


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Story]]:
    folder = tmp_path_factory.mktemp("demo")
    app = open_app(folder)
    fill_sources(app, folder)
    fill_verdicts(app)
    app.alerting.tick(last=True)
    yield app, tell_story(app)
    app.close()


@pytest.fixture(scope="module")
def written(told: tuple[App, Story], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("out") / "report.html"
    report.write(*told, path)
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in its turn; notes elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)


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
                 "What Tocsin saw", "Evidence", "Incidents and their playbooks", "History",
                 "Quiet weeks", "What was looked at", "Look around"):  # fmt: skip
        assert part in headings
    assert f"AML.T0020 {atlas.name('AML.T0020')}" in written
    assert "2026-03-02" in written
    assert " UTC</time>" in written


def test_every_picture_says_what_it_shows(written: str) -> None:
    pictures = [given for name, given in Reader(written).elements if name == "svg"]
    assert len(pictures) == 6
    for given in pictures:
        assert given["role"] == "img"
        assert len(given["aria-label"]) > 40
    colors = set(re.findall(r"(?:fill|stroke): (#\w+)", written))
    assert not colors & set(canvas.VARIABLES)


def test_it_is_small_and_the_same_each_time(told: tuple[App, Story], written: str, tmp_path: Path) -> None:
    assert len(written.encode()) < 3_000_000
    report.write(*told, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == written


def test_the_incident_is_a_checklist(told: tuple[App, Story], written: str) -> None:
    incident = told[1].incidents[0]
    steps = [given for name, given in Reader(written).elements if name == "li"]
    assert len(steps) == sum(len(i.steps) for i in told[1].incidents)
    assert sum(given["class"] == "done" for given in steps) == 1
    assert page.escape(incident.steps[0].name) in written
    assert "done by ana: read" in written
    assert "on it &lt;script&gt;" in written


def test_missed_attacks_and_false_alarms_are_said(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    missed = [
        Detection(Attack(name, technique, canvas.week(week), week, (subject,), {}))
        for week, name, technique, subject, _ in ATTACKS
    ]
    story = Story(1, missed, false_alarms=[{}])
    report.write(app, story, tmp_path / "report.html")
    app.close()
    text = (tmp_path / "report.html").read_text("utf-8")
    Reader(text)
    for said in (
        "0 of 4 attacks found",
        "1 false alarm in the quiet weeks",
        "missed</span>",
        "No incident was",
    ):
        assert said in text


def test_a_story_in_which_nothing_happened(tmp_path: Path) -> None:
    app = open_app(tmp_path)
    report.write(app, Story(1), tmp_path / "report.html")
    app.close()
    Reader((tmp_path / "report.html").read_text("utf-8"))


def test_without_matplotlib_it_says_what_to_install(
    told: tuple[App, Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TocsinError, match=r"pip install 'tocsin\[demo\]'"):
        report.write(*told, tmp_path / "report.html")


def test_evidence_is_short_and_whole() -> None:
    facts = {
        "rows": 1000,
        "p": 1e-20,
        "ids": list(range(30)),
        "odd": [{"row": i, "x": {}} for i in range(9)],
        "none": None,
    }
    text = evidence.readable(json.dumps(facts))
    Reader(text)
    assert "<dd>1,000</dd>" in text
    assert "1e-20" in text
    assert "and 22 more" in text
    assert "3 more rows are in the JSON" in text
    assert evidence.readable(None) == evidence.readable("{}")


def test_markup_is_only_what_was_built_as_markup() -> None:
    inner = page.tag("b", HOSTILE)
    assert page.tag("p", inner, "<i>", class_='"x') == f'<p class="&quot;x">{inner}&lt;i&gt;</p>'
    assert "&lt;script&gt;" in inner
    assert datetime.fromisoformat(re.findall(r'datetime="([^"]+)"', page.when(START))[0]) == START
