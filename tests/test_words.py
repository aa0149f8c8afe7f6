"""Public names use the glossary's word; docs, CLI texts and public names contain no coined words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import click
import pytest

from tests.conftest import ROOT
from tocsin.cli.main import tocsin

#: A word that is not ours, and the one that is.
OTHERS = {
    "addon": "plugin", "agent": "collector", "anomaly": "score or finding", "asset": "subject", "cutoff": "threshold",
    "entity": "subject", "extension": "plugin", "forwarder": "collector", "mute": "silence", "notifier": "receiver",
    "priority": "severity", "runbook": "playbook", "shipper": "collector", "snooze": "silence", "suppress": "inhibit",
    "ticket": "incident", "topic": "stream", "validator": "conformance check",
}  # fmt: skip
FILES = [
    p
    for part in ("tocsin", "recorder", "collectors", "detectors", "alerting", "dashboards")
    for p in (ROOT / part).rglob("*.py")
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_public_name_has_the_glossarys_word(other: str) -> None:
    assert len(FILES) > 100
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: say {OTHERS[other]}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if other in re.findall(r"[a-z0-9]+", re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower())
    ]
    assert wrong == []


#: A coined phrase (regular expression) in prose, and what to write instead.
COINAGES = {
    r"(is|are|was|were|be|been) told": "notified, reported or passed", r"told together": "sent together",
    r"tells? nobody": "sends no notification", r"hears? of": "is notified of", r"heard of": "notified of",
    r"unheard": "without a notification", r"is the same else": "otherwise behaves the same",
    r"for ever": "continuously", r"go(es)? on": "continues", r"a look": "a read or an evaluation",
    r"look(s|ed)? (at it )?once more": "reads again", r"looks? at it again": "evaluates it again",
    r"is at it": "runs or holds it", r"stood still": "was suspended", r"stands? still": "is suspended",
    r"counts? less": "name what readers prefer", r"makes? (an event|events) of": "converts to events",
    r"takes? in": "ingests", r"taken in": "ingested", r"lets? go": "releases", r"somebody": "a user",
    r"whoever": "the user or a caller", r"in words": "as a readable message", r"what waits": "name the thing",
    r"what is there": "name the thing", r"that is there": "existing", r"that are there": "existing",
    r"says? nothing of": "does not contain", r"by themselves": "automatically", r"of (its|their) own": "separate",
    r"of a kind": "of one type", r"what was looked at": "coverage", r"anew": "again", r"all the same": "anyway",
    r"take it on": "acknowledge it", r"left in peace": "not called", r"tells? time": "reports the time",
    r"beats?": "heartbeat", r"said so": "reported", r"the whole way": "the complete guide",
    r"found out": "detected", r"folds? (on|in)to": "has the same canonical form as", r"wins? over": "has precedence over",
    r"(windows|those) of (now|the past)": "recent or older", r"without ink": "invisible", r"no habit": "name the effect",
}  # fmt: skip
#: The same in the parts of public names: functions, classes, methods and their parameters.
NAMES = {
    "told": "notified or reported", "hear": "receive", "heard": "received", "unheard": "unreported",
    "beat": "heartbeat", "succeed": "take_over", "again": "retry", "look": "read", "whoever": "caller",
    "somebody": "user", "anew": "again",
}  # fmt: skip
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
#: Code in Markdown: a fenced block, an indented line, and inline code within one paragraph.
_FENCED = re.compile(r"^ *(```+)[^`\n]*\n.*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^(?: {4}| {8})\S[^\n]*$", re.MULTILINE)
_INLINE = re.compile(r"`(?:[^`\n]|\n(?![ ]*\n))+`")


def _prose(text: str) -> str:
    """A text without code, on one line. A dot stands for inline code, so that the words around it stay apart."""
    text = _INDENTED.sub("", _FENCED.sub("", text))
    return " ".join(_INLINE.sub(" . ", text).split())


def _coined(text: str) -> list[str]:
    """The coined phrases in the prose of a text."""
    prose = _prose(text)
    return [
        f"{found[0]}: write {word}"
        for phrase, word in COINAGES.items()
        for found in re.finditer(rf"\b(?:{phrase})\b", prose, re.IGNORECASE)
    ]


def test_all_prose_is_checked_and_no_code() -> None:
    text = """First `a` line.

    indented --code

Second line, with `code over
two lines`, and text.

1. A step:

   ```python
   fenced = "code"
   ```

   Third line.

Fourth line.
"""
    prose = _prose(text)
    assert prose == "First . line. Second line, with . , and text. 1. A step: Third line. Fourth line."
    assert _coined("Some text.\n\n    code\n\nThe path goes on.\n") == ["goes on: write continues"]


def _commands(command: click.Command, path: str = "tocsin") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _commands(sub, f"{path} {name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_have_no_coinages(page: object) -> None:
    assert _coined(ROOT.joinpath(str(page)).read_text()) == []


@pytest.mark.parametrize(
    ("path", "command"), list(_commands(tocsin)), ids=lambda v: v if isinstance(v, str) else ""
)
def test_commands_have_no_coinages(path: str, command: click.Command) -> None:
    texts = [command.help, command.short_help, command.epilog]
    texts += [p.help for p in command.params if isinstance(p, click.Option)]
    assert [found for text in filter(None, texts) for found in _coined(text)] == []


def _public_names() -> Iterator[tuple[str, str]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ) or node.name.startswith("_"):
                continue
            names = [node.name]
            if not isinstance(node, ast.ClassDef):
                arguments = node.args
                names += [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", name) for name in names)


def test_public_names_have_no_coinages() -> None:
    wrong = [
        f"{place} {name}: write {NAMES[part]}"
        for place, name in _public_names()
        for part in re.findall(r"[a-z0-9]+", re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
        if part in NAMES
    ]
    assert wrong == []
