"""docs/analyst.md names boards, panels and commands as they are; the example of docs/plugin-author.md works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import click
import pytest

from tests.conftest import ROOT
from tests.dashboards.built import dashboards
from tests.dashboards.datasources import of_tocsin
from tests.dashboards.lint import lint
from tocsin.cli.main import tocsin
from tocsin.config import discovery
from tocsin.contract.findings import Family
from tocsin.contract.plugin import Detector
from tocsin_alerting.playbooks.loading import load_playbooks
from tocsin_dashboards.building import build
from tocsin_dashboards.declared import BOARDS

ANALYST = (ROOT / "docs" / "analyst.md").read_text()
AUTHOR = (ROOT / "docs" / "plugin-author.md").read_text()
#: `tocsin …` in a line of its own or within a sentence.
COMMANDS = re.compile(r"^ {4}(tocsin [^\n]+)$|`(tocsin [^`\n]+)`", re.MULTILINE)


def _titles() -> Iterator[str]:
    for board in dashboards().values():
        yield board["title"]
        yield from (panel["title"] for panel in board["panels"])


def _commands() -> list[str]:
    return [line or span for line, span in COMMANDS.findall(ANALYST)]


def test_every_board_is_named() -> None:
    assert [b["title"] for b in dashboards().values() if f"**{b['title']}**" not in ANALYST] == []


def test_bold_words_are_titles() -> None:
    """A title may go on in the next line."""
    bold = {" ".join(words.split()) for words in re.findall(r"\*\*(.+?)\*\*", ANALYST, re.DOTALL)}
    assert len(bold) > 30
    assert sorted(bold - set(_titles())) == []


@pytest.mark.parametrize("line", _commands())
def test_commands_can_be_typed(line: str) -> None:
    """With every argument and option; what follows `|` or `>` is the shell's."""
    _, *words = shlex.split(re.split(r"[|>]", line)[0])
    command: click.Command = tocsin
    while isinstance(command, click.Group):
        name, *words = words
        assert name in command.commands, line
        command = command.commands[name]
    command.make_context(name, words)


WALKS = re.findall(r"Playbook ([a-z-]+), in order: (.+?)\.\s", ANALYST, re.DOTALL)


def test_each_family_has_a_walk() -> None:
    detectors = discovery.discover().of(Detector).values()  # type: ignore[type-abstract]
    playbooks = {d.playbook for d in detectors} - {"unexplained-anomaly"}
    assert {playbook for playbook, _ in WALKS} == playbooks
    assert len(WALKS) == len(playbooks)


@pytest.mark.parametrize(("playbook", "listed"), WALKS)
def test_walks_list_the_steps_of_their_playbook(playbook: str, listed: str) -> None:
    steps = [step.id for step in load_playbooks()[playbook].steps]
    mentioned = re.findall(r"[a-z]+(?:-[a-z]+)*", listed)
    assert [step for step in steps if step not in mentioned] == []
    assert [word for word in mentioned if "-" in word and word not in steps] == []


def _detector() -> type[Detector[Any]]:
    """The class that the section of docs/plugin-author.md shows."""
    block = re.search(r"^## Panels\n.*?```python\n(.+?)```", AUTHOR, re.DOTALL | re.MULTILINE)
    assert block
    names: dict[str, Any] = {}
    exec(compile(block[1], "plugin-author.md", "exec"), names)
    found: type[Detector[Any]] = names["FailedCalls"]
    return found


def test_the_example_of_panels_makes_clean_panels() -> None:
    detector = _detector()
    built = build([detector])
    board = built[BOARDS[detector.family]]
    titles = [panel["title"] for panel in board["panels"]]
    assert detector.family is Family.MODEL_BEHAVIOR
    assert titles[titles.index("Plug-in failed_calls") + 1 :] == [panel.title for panel in detector.panels]
    assert [str(flaw) for flaw in lint(built, of_tocsin())] == []
