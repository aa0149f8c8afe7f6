"""Tables and pages on terminals of several widths and piped: golden files, and the rules that they follow.

The golden files are in `tests/cli/golden`, `NAME.WIDTH.txt` each. `TOCSIN_WRITE_GOLDEN=1` writes them again.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.columns import empty_columns
from tests.cli.conftest import Invoke
from tests.cli.story import TRACEBACK
from tests.stores import only_embedded
from tocsin.cli.tables import Column, lines, with_early

pytestmark = only_embedded
GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (80, 100, 140, None)
COMMANDS = {
    "alerts": ["alerts"],
    "alert": ["alerts", "MARIA"],
    "explain": ["explain", "FINDING"],
    "findings": ["findings"],
    "incidents": ["incidents"],
    "events-access": ["events", "access"],
    "runs": ["runs"],
    "health": ["health"],
}
TABLES = {
    **{name: command for name, command in COMMANDS.items() if name not in {"alert", "explain"}},
    "scores": ["scores", "--detector", "registry_access"],
    "coverage": ["coverage", "--from", "2026-03-23", "--to", "2026-03-24"],
    "alert-history": ["events", "alert_history"],
    "findings-stream": ["events", "finding"],
    "runs-stream": ["events", "run"],
    "audit": ["events", "audit"],
    "plugins": ["plugins", "list"],
}


@pytest.fixture
def maria(invoke: Invoke) -> str:
    """The first characters of the id of maria's alert."""
    rows = [json.loads(line) for line in invoke("alerts", "--json").stdout.splitlines()]
    return next(str(row["fingerprint"])[:6] for row in rows if row["subject.id"] == "maria")


@pytest.fixture
def finding(invoke: Invoke) -> str:
    """The first characters of the id of the finding about maria."""
    rows = [json.loads(line) for line in invoke("findings", "--json").stdout.splitlines()]
    return next(str(row["finding.id"])[:8] for row in rows if row["subject.id"] == "maria")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_golden(invoke: Invoke, maria: str, finding: str, name: str, width: int | None) -> None:
    given = {"MARIA": maria, "FINDING": finding}
    arguments = [given.get(word, word) for word in COMMANDS[name]]
    shown = invoke(*arguments, width=width).stdout
    file = GOLDEN / f"{name}.{width or 'piped'}.txt"
    if os.environ.get("TOCSIN_WRITE_GOLDEN"):
        file.write_text(shown)
    assert shown == file.read_text()
    assert max(map(len, shown.splitlines())) <= (width or 10_000)
    assert not re.search(r"[ \t]$", shown, re.MULTILINE)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_filled(invoke: Invoke, name: str) -> None:
    """Piped, every column of every table has a value in at least one row."""
    assert empty_columns(invoke(*TABLES[name]).stdout) == []


def test_a_spare_column_without_a_value_is_omitted() -> None:
    columns = [Column("state"), Column("searched", spare=True), Column("attempt")]
    rows = [{"state": "due", "searched": None, "attempt": None}]
    for width in (80, None):
        shown = "\n".join(line.plain for line in lines(rows, columns, width))
        assert "searched" not in shown
    assert empty_columns(shown) == ["attempt"]
    assert "searched" in str(next(iter(lines([*rows, {**rows[0], "searched": "a"}], columns, None))))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [60, 80, 100, 120, 140])
def test_no_word_is_broken(invoke: Invoke, name: str, width: int) -> None:
    """Every word of a narrow table is a word of the piped one, but for short times and shortened values."""
    piped = invoke(*TABLES[name]).stdout
    whole = set(piped.split())
    for word in invoke(*TABLES[name], width=width).stdout.split():
        short = re.fullmatch(r"\d{4}-\d\d-\d\d|\d\d:\d\d(:\d\d)?", word) or word.endswith("…")
        assert word in whole or short or word in {"next", "step:"}, word


def test_piped_a_row_is_one_line(invoke: Invoke) -> None:
    assert len(invoke("alerts").stdout.splitlines()) == 1 + 3
    assert "2026-03-23T09:00:12Z" in invoke("events", "access").stdout


def test_runs_count_early_evaluations_and_list_them_on_request(invoke: Invoke) -> None:
    usual = invoke("runs")
    assert "early" not in usual.stdout
    assert usual.stderr == "and 1 early evaluation: tocsin runs --early\n"
    for option in (["--early"], ["--outcome", "early"]):
        shown = invoke("runs", *option)
        assert "early" in shown.stdout
        assert shown.stderr == ""
    assert "early" not in invoke("runs", "--json").stdout


def test_a_table_says_which_findings_are_early_if_one_is() -> None:
    columns = [Column("severity"), Column("reason", sentence=True)]
    rows = [{"severity": "high", "reason": "many", "early": early} for early in (False, True)]
    assert list(with_early(columns, rows[:1])) == columns
    shown = [line.plain.split() for line in lines(rows, with_early(columns, rows), None)]
    assert shown == [["severity", "early", "reason"], ["high", "no", "many"], ["high", "yes", "many"]]


def test_the_sentence_is_below_its_row_on_a_narrow_terminal(invoke: Invoke) -> None:
    narrow, wide = (invoke("findings", width=width).stdout.splitlines() for width in (119, 140))
    assert narrow[2].startswith("  credit returns another score")
    assert "credit returns another score" in wide[1]


def test_severities_are_colored_on_a_terminal_and_only_there(invoke: Invoke) -> None:
    colored = invoke("alerts", width=80, term="xterm-256color").stdout
    assert "\x1b[1;31mcritical\x1b[0m" in colored
    plain = invoke("alerts", width=80, term="xterm-256color", NO_COLOR="1").stdout
    assert "\x1b[1mcritical" in plain
    assert not re.search(r"\x1b\[[\d;]*3\dm", plain)
    assert "\x1b" not in invoke("alerts").stdout
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == invoke("alerts", width=80).stdout


def test_severity_is_the_first_column(invoke: Invoke) -> None:
    for name in ("alerts", "findings", "incidents"):
        assert invoke(name).stdout.startswith("severity ")


def test_a_row_without_a_column_s_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        list(lines([{"severity": "low"}], [Column("severity"), Column("incident.id")], 80))


def test_a_long_value_does_not_push_the_other_columns_out() -> None:
    row = {"severity": "low", "subject": "x" * 60, "state": "firing"}
    shown = [line.plain for line in lines([row], ["severity", "subject", "state"], 80)]
    assert shown[1] == f"low       {'x' * 39}…  firing"
    assert shown[2] == f"  subject {'x' * 60}"


def test_wide_characters_are_counted_as_two_columns() -> None:
    rows = [{"who": "山田太郎", "what": "a"}, {"who": "maria", "what": "b"}]
    assert [line.plain for line in lines(rows, ["who", "what"], 80)] == [
        "who       what",
        "山田太郎  a",
        "maria     b",
    ]


def test_one_alert_as_json(invoke: Invoke, maria: str) -> None:
    (row,) = [json.loads(line) for line in invoke("alerts", maria, "--json").stdout.splitlines()]
    assert row["subject.id"] == "maria"
    assert row["techniques.names"] == {"AML.T0012": "Valid Accounts"}
    assert [moment["action"] for moment in row["history"]] == [
        "firing",
        "incident_opened",
        "notified",
        "acknowledged",
    ]


def test_an_id_that_names_no_alert_or_several_is_an_error(invoke: Invoke) -> None:
    unknown = invoke("alerts", "zz")
    assert str(unknown.exception) == (
        "no alert has an id that begins with 'zz'; `tocsin alerts --all` lists the alerts, `tocsin incidents` the incidents"
    )
    assert "no alert has an id" in str(invoke("alerts", "").exception)


def test_tracebacks_of_attempts(invoke: Invoke) -> None:
    assert "Traceback" not in invoke("runs").stdout
    shown = invoke("runs", "--outcome", "failed", "--traceback").stdout
    assert shown.endswith(f"\nfeature_drift, window 2026-03-23T00:00:00Z:\n{TRACEBACK}\n")
    (row,) = [
        json.loads(line) for line in invoke("runs", "--outcome", "failed", "--json").stdout.splitlines()
    ]
    assert row["traceback"] == TRACEBACK


def test_an_explanation_as_json_and_its_errors(invoke: Invoke, finding: str) -> None:
    [row] = [json.loads(line) for line in invoke("explain", finding, "--json").stdout.splitlines()]
    assert row["ratio"] == pytest.approx(row["score"] / row["threshold"])
    assert row["next_severity"] is None
    assert list(row["advice"]) == ["False alarms", "Blind spots", "Respond"]
    for id in ("none", ""):
        assert str(invoke("explain", id).exception).startswith("no finding has an id that begins with")
