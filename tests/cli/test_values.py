"""What commands print: escapes, counts and summaries."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.conftest import Invoke
from tests.demo.small_story import append, open_app
from tests.stores import only_embedded
from tocsin.cli import delivery, detect, output, run
from tocsin.cli.main import tocsin
from tocsin.cli.values import as_json, clean, text
from tocsin.contract.findings import Outcome
from tocsin.errors import InputError
from tocsin.pipeline.detecting.records import Run, run_row

C1 = [chr(code) for code in range(0x7F, 0xA0)]
BIDI = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)]
SEPARATORS = ["\u2028", "\u2029"]
ACTING = [*C1, *BIDI, *SEPARATORS, "\ud800"]
START = datetime(2026, 3, 23, tzinfo=UTC)


@pytest.mark.parametrize("character", ACTING, ids=lambda c: f"U+{ord(c):04X}")
def test_json_escapes_what_a_terminal_may_act_on(character: str) -> None:
    value = {f"key{character}": [f"a{character}b"]}
    written = as_json(value)
    assert character not in written
    assert f"\\u{ord(character):04x}" in written
    assert json.loads(written) == value


def test_json_leaves_other_characters_as_they_are() -> None:
    assert as_json({"who": "läuft ✓ 山田"}) == '{"who": "läuft ✓ 山田"}'


@pytest.mark.parametrize("character", [*ACTING, "\x1b", "\n", "\t"], ids=lambda c: f"U+{ord(c):04X}")
def test_text_has_none_of_them(character: str) -> None:
    assert clean(f"a{character}b") == "a\ufffdb"


@only_embedded
@pytest.mark.parametrize("arguments", [["events", "access"], ["events", "access", "--json"]])
def test_no_output_has_them(tmp_path: Path, arguments: list[str]) -> None:
    app = open_app(tmp_path)
    hostile = "".join(c for c in ACTING if c != "\ud800")
    append(app, "access", [{"@timestamp": START, "user.id": f"a{hostile}b", "event.action": "read"}])
    app.close()
    done = CliRunner().invoke(tocsin, ["-c", str(tmp_path / "tocsin.yaml"), *arguments])
    assert done.exit_code == 0
    assert "read" in done.stdout
    assert not set(done.stdout) & set(ACTING)


def test_a_message_with_them_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_text("error: no alert called a\u202eb\nsecond line", err=True)
    assert capsys.readouterr().err == "error: no alert called a\ufffdb\nsecond line\n"


def test_values_for_people() -> None:
    shown = [text(v) for v in (None, True, 0.05333, 1278.4, ["a", 1.5], {"k": 1})]
    assert shown == ["", "yes", "0.0533", "1,278", "a, 1.5", '{"k": 1}']


def _run(detector: str, day: int, outcome: Outcome, reason: str = "") -> Run:
    start = START + timedelta(days=day)
    return Run(detector, start, start + timedelta(days=1), outcome, reason)


def test_detect_ends_with_a_summary() -> None:
    runs = [
        _run("query_budget", 0, Outcome.EVALUATED),
        _run(
            "feature_drift", 0, Outcome.SKIPPED, "detector feature_drift: history before day 0 is too short"
        ),
        _run(
            "feature_drift", 1, Outcome.SKIPPED, "detector feature_drift: history before day 1 is too short"
        ),
        _run("label_poisoning", 0, Outcome.FAILED, "ZeroDivisionError: division by zero"),
    ]
    assert list(detect.summary(runs)) == [
        "1 window evaluated, 2 skipped, 1 failed, by 3 detectors",
        "findings: none",
        (
            "skipped: 2 windows of feature_drift: history before day 1 is too short "
            "(1 other reason: tocsin runs --outcome skipped)"
        ),
        "failed: 1 window of label_poisoning: ZeroDivisionError: division by zero",
    ]


def _round(*notifications: tuple[str, str, int], receivers: dict[str, Any] | None = None) -> tuple[Any, Any]:
    counts = SimpleNamespace(accepted=1, rejected=0, spooled=0)
    alerts = SimpleNamespace(failed=0, retried=0, notifications=notifications)
    app = SimpleNamespace(config=SimpleNamespace(alerting={"receivers": receivers} if receivers else {}))
    return app, SimpleNamespace(
        counts=counts, runs=[_run("query_budget", 0, Outcome.EVALUATED)], alerts=alerts
    )


def test_a_round_counts_no_notification_to_nobody() -> None:
    receivers = {"pages": {"type": "email"}, "quiet": {"type": "nobody"}}
    app, tick = _round(("pages", "notified", 1), ("quiet", "notified", 2), receivers=receivers)
    assert run.summary(app, tick) == (
        "1 event accepted, 0 rejected; 1 window evaluated, 0 skipped, 0 failed; 0 findings; "
        "1 notification sent to pages"
    )
    assert list(delivery.warnings(app, tick.alerts)) == [
        "2 notifications for receiver quiet not sent: its type is `nobody`"
    ]


def test_a_round_says_that_no_receiver_is_configured() -> None:
    app, tick = _round(("console", "notified", 1))
    assert run.summary(app, tick).endswith("1 notification sent to console")
    (warning,) = delivery.warnings(app, tick.alerts)
    assert warning.startswith("no receiver is configured")


def test_a_traceback_is_in_the_run_s_row_and_not_in_its_id() -> None:
    failed = _run("query_budget", 0, Outcome.FAILED, "ZeroDivisionError: no")
    row = run_row(replace(failed, traceback="Trace\n"))
    assert json.loads(row["tocsin.unmapped"]) == {"error.stack_trace": "Trace\n"}
    assert row["event.id"] == run_row(failed)["event.id"]
    assert run_row(failed)["tocsin.unmapped"] is None


@pytest.mark.parametrize("plain", [True, False])
def test_off_a_terminal_steps_are_lines_if_they_are_asked_for(
    capsys: pytest.CaptureFixture[str], plain: bool
) -> None:
    with output.progress("running", plain=plain) as at:
        at.step("collecting")
        at.detail("first")
        at.update("never")
        at.step("alerting")
    assert capsys.readouterr().err == ("collecting\nalerting\n" if plain else "")


@only_embedded
def test_an_ambiguous_id_lists_the_alerts(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.cli import alert_page
    from tocsin.worker.app import App

    rows = [json.loads(line) for line in invoke("alerts", "--json").stdout.splitlines()]
    alerts = [
        SimpleNamespace(id=f"ab{n}-1", fingerprint=f"ab{n}", detector=row["detector"],
                        subject=SimpleNamespace(type=row["subject.type"], id=row["subject.id"]))
        for n, row in enumerate(rows)
    ]  # fmt: skip
    app: App = SimpleNamespace(alerting=SimpleNamespace(alerts=lambda: alerts))  # type: ignore[assignment]
    with pytest.raises(InputError) as error:
        alert_page.find(app, "ab")
    assert str(error.value) == (
        "3 alerts begin with 'ab'; write more of the id: ab0 (registry_access, principal maria), "
        "ab1 (query_budget, principal broker-13), ab2 (prediction_drift, model credit)"
    )
