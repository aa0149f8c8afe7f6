"""The command line as users meet it: contract, exit codes, no tracebacks, a fast start."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import only_embedded

TOCSIN = Path(sys.executable).with_name("tocsin")
HEAVY = (
    "numpy",
    "polars",
    "deltalake",
    "scipy",
    "sklearn",
    "pyod",
    "apscheduler",
    "elasticsearch",
    "matplotlib",
    "pandas",
    "grafana_client",
    "grafana_foundation_sdk",
)


def run(folder: Path, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [TOCSIN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=_environment(),
    )
    assert "Traceback" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, done.stderr + done.stdout
    return done


_STORE = {"TOCSIN_STORE_URL", "TOCSIN_NAMESPACE"}


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_") or k in _STORE}


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def failing_calls(path: Path, failed: int) -> None:
    rows = [
        {
            "@timestamp": f"2026-03-02T09:{i // 2:02d}:{i % 2 * 30:02d}Z",
            "event": {"id": str(i), "outcome": "failure" if i < failed else "success"},
            "tocsin": {"model": {"name": "credit"}},
        }
        for i in range(100)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a configuration that loads the example plug-in from its file."""
    (tmp_path / "tocsin.yaml").write_text("plugins: [tocsin_failed_calls]\n")
    return tmp_path


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = f"""
import sys
sys.argv = ["tocsin", "--help"]
from tocsin.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_import_tocsin_is_light(tmp_path: Path) -> None:
    script = f"import sys, tocsin; tocsin.Recorder; bad = [n for n in {HEAVY!r} if n in sys.modules]; assert not bad, bad"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_init_then_check(tmp_path: Path) -> None:
    assert "wrote tocsin.yaml" in run(tmp_path, "init").stdout
    assert "good" in run(tmp_path, "check").stdout
    assert "the file exists already; it was not changed" in run(tmp_path, "init", code=2).stderr


def test_a_wrong_configuration_is_exit_2_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text("store:\n  pth: x\n")
    done = run(tmp_path, "check", code=2)
    assert done.stderr.strip() == "error: tocsin.yaml:2: unknown key 'pth'; did you mean 'path'? (in store)"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["collect", "nothing", "x"], 2, "no such collector"),
        (["collect", "ndjson", "missing.ndjson"], 1, "missing.ndjson"),
        (["collect", "ndjson"], 2, "Missing argument"),
        (["collect", "ndjson", "x", "--set", "stream"], 2, "is not KEY=VALUE"),
        (["collect", "ndjson", "x", "--set", "colour=red"], 2, "unknown key 'colour'"),
        (["events", "nothing"], 2, "is not one of"),
        (["detect", "--detector", "nothing"], 2, "no enabled detector has this id"),
        (["detect", "--from", "yesterday"], 2, "is not a time"),
        (["scores"], 2, "Missing option"),
        (["baseline", "show", "feature_drift", "3"], 1, "no baseline version 3"),
        (["baseline", "pin", "feature_drift"], 2, "name a VERSION to pin, or use --off"),
        (["baseline", "fit", "--detector", "feature_drift"], 1, "history"),
        (["ack", "abc", "--by", "ana"], 1, "abc"),
        (["ack", "abc"], 2, "--by"),
        (["incidents", "nothing"], 1, "nothing"),
        (["run", "--fail-on", "high"], 2, "--once"),
        (["events", "inference", "--from", "0001-01-01T00:00:00+14:00"], 2, "is not a time"),
        (["events", "inference", "--limit", "-1"], 2, "-1 is not in the range"),
        (["events", "inference", "--from", "2026-03-02", "--to", "2026-03-01"], 2, "is not before"),
        (["baseline", "fit", "--from", "2026-03-02", "--to", "2026-03-01"], 2, "is not before"),
        (["findings", "--detector", "nope", "--fail-on", "low"], 2, "no enabled detector has this id"),
        (["scores", "--detector", "nope"], 2, "no enabled detector has this id"),
        (["baseline", "list", "--detector", "nope"], 2, "no enabled detector has this id"),
        (["plugins", "new", "detector", "a" * 300], 2, "is not a valid name for a detector"),
        (["plugins", "new", "detector", "class"], 2, "is not a valid name for a detector"),
        (["plugins", "new", "detector", "feature_drift"], 2, "already"),
        (["collect", "ndjson", "x", "--set", "remove=" + "[" * 3000], 2, "nested too deeply"),
        (["collect", "ndjson", "x", "--set", "remove=!!int x"], 2, "is not a valid YAML value"),
        (["collect", "ndjson", "x", "--stream", "nope"], 2, "takes no events"),
        (["plugins", "check", "missing"], 2, "does not exist"),
        (["plugins", "new", "detector", "Bad-Name"], 2, "lower_snake_case"),
    ],
)
def test_a_user_s_mistake_is_one_clear_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    assert words in run(tmp_path, *arguments, code=code).stderr


def test_empty_lists_say_so_and_are_exit_0(tmp_path: Path) -> None:
    for arguments in (
        ["events", "access"],
        ["findings"],
        ["alerts"],
        ["incidents"],
        ["baseline", "list"],
        ["detect"],
    ):
        done = run(tmp_path, *arguments)
        assert done.stdout == ""
        assert done.stderr
        assert run(tmp_path, *arguments, "--json").stdout == ""


def test_a_backfill_with_page_delivers_its_alerts_as_firing(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = str(Path(__file__).parents[2] / "examples" / "plugin")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([example, os.environ.get("PYTHONPATH", "")]))
    failing_calls(plugin / "inference.ndjson", failed=60)
    run(plugin, "collect", "ndjson", "inference.ndjson")
    backfill = ("detect", "--detector", "failed_calls", "--from", "2026-03-01", "--to", "2026-03-09")
    assert "notification" not in run(plugin, *backfill).stderr
    assert lines(run(plugin, "alerts", "--json")) == []
    paged = run(plugin, *backfill, "--page")
    assert "[FIRING:1] CRITICAL failed_calls" in paged.stdout
    assert "1 notification sent to console" in paged.stderr
    [alert] = lines(run(plugin, "alerts", "--json"))
    assert alert["detector"] == "failed_calls"
    assert "0 notifications sent" in run(plugin, *backfill, "--page").stderr


def test_from_events_to_an_incident(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = str(Path(__file__).parents[2] / "examples" / "plugin")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([example, os.environ.get("PYTHONPATH", "")]))
    failing_calls(plugin / "inference.ndjson", failed=60)
    assert (
        run(plugin, "collect", "ndjson", "inference.ndjson").stdout
        == "read 100, accepted 100, duplicate 0, rejected 0\n"
    )
    second = lines(run(plugin, "collect", "ndjson", "inference.ndjson", "--json"))
    assert second == [{"read": 0, "accepted": 0, "duplicate": 0, "rejected": 0, "spooled": 0}]
    assert len(lines(run(plugin, "events", "inference", "--limit", "0", "--json"))) == 100

    runs = lines(run(plugin, "detect", "--detector", "failed_calls", "--json", "--fail-on", "high", code=3))
    assert [(r["outcome"], r["rows"], r["findings"]) for r in runs] == [("evaluated", 100, 1)]
    assert "no window is due" in run(plugin, "detect", "--detector", "failed_calls").stderr
    backfills = ("detect", "--detector", "failed_calls", "--from", "2026-03-02", "--to", "2026-03-03")
    backfill = run(plugin, *backfills).stdout
    assert "evaluated" not in backfill.partition("\n\n")[0]
    assert backfill.endswith(
        "\n1 window evaluated, 0 skipped, 0 failed, by 1 detector\nfindings: 1 critical\n"
    )
    assert run(plugin, *backfills, "-v").stdout.startswith("outcome  ")
    found = lines(run(plugin, "findings", "--json"))
    assert len(found) == 1
    assert set(found[0]) >= {
        "finding.id",
        "detector",
        "subject.type",
        "subject.id",
        "severity",
        "score",
        "threshold",
        "window.start",
        "window.end",
        "techniques",
        "reason",
        "evidence",
    }
    assert (found[0]["severity"], found[0]["score"], found[0]["window.start"]) == (
        "critical",
        0.6,
        "2026-03-02T09:00:00Z",
    )
    run(plugin, "findings", "--fail-on", "critical", code=3)
    scored = lines(run(plugin, "scores", "--detector", "failed_calls", "--json"))
    assert [(s["subject.id"], s["score"], s["threshold"]) for s in scored] == [("credit", 0.6, 0.2)]

    once = run(plugin, "run", "--once")
    assert once.stdout.endswith(
        "0 events accepted, 0 rejected; 4 windows evaluated, 6 skipped, 0 failed; 0 findings; "
        "1 notification sent to console\n"
    )
    assert once.stderr.splitlines() == [
        "evaluating the windows that are due",
        "alerting",
        "maintaining the store",
        (
            "no receiver is configured: notifications are printed on the console only; "
            "set `alerting.receivers` and `alerting.route` in tocsin.yaml"
        ),
    ]
    alerts = lines(run(plugin, "alerts", "--json"))
    assert [(a["state"], a["severity"]) for a in alerts] == [("firing", "critical")]
    incidents = lines(run(plugin, "incidents", "--json"))
    assert len(incidents) == 1
    run(plugin, "ack", str(alerts[0]["fingerprint"]), "--by", "Ana", "--reason", "looking")
    assert lines(run(plugin, "alerts", "--json"))[0]["acknowledged"] == "Ana"
    done = [row["event.action"] for row in lines(run(plugin, "events", "alert_history", "--json"))]
    assert done.count("firing") == done.count("notified") == done.count("acknowledged") == 1
    assert [row["event.action"] for row in lines(run(plugin, "events", "audit", "--json"))] == ["acknowledge"]
    assert "credit" in run(plugin, "findings").stdout


def test_times_in_every_output_have_their_zone(tmp_path: Path) -> None:
    failing_calls(tmp_path / "inference.ndjson", failed=0)
    run(tmp_path, "collect", "ndjson", "inference.ndjson")
    row = lines(run(tmp_path, "events", "inference", "--json"))[0]
    assert str(row["@timestamp"]).endswith("Z")
    assert "2026-03-02T09:49:30Z" in run(tmp_path, "events", "inference", "--limit", "1").stdout


@only_embedded
def test_a_round_from_cron_keeps_the_store_in_shape_and_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text(
        "collectors: [{type: ndjson, params: {paths: [inference.ndjson]}}]\n"
    )
    assert "no such file" in run(tmp_path, "run", "--once", code=1).stderr.lower()
    for minute in range(30):
        event = {"@timestamp": f"2026-03-02T09:{minute:02}:00Z", "tocsin": {"model": {"name": "credit"}}}
        (tmp_path / "inference.ndjson").write_text(json.dumps(event) + "\n")
        run(tmp_path, "collect", "ndjson", "inference.ndjson")
    state = tmp_path / "tocsin-data" / "state.db"
    with sqlite3.connect(state) as connection:  # as if the last upkeep had been long ago
        connection.execute("DELETE FROM state WHERE kind = 'upkeep'")
    connection.close()
    run(tmp_path, "run", "--once")
    log = tmp_path / "tocsin-data" / "streams" / "inference" / "_delta_log"
    assert any('"remove"' in commit.read_text() for commit in log.glob("*.json"))


@only_embedded
def test_a_damaged_store_is_one_clear_line(tmp_path: Path) -> None:
    failing_calls(tmp_path / "inference.ndjson", 10)
    run(tmp_path, "collect", "ndjson", "inference.ndjson")
    (part,) = (tmp_path / "tocsin-data" / "streams" / "inference").glob("day=*/*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    assert "the store cannot be read" in run(tmp_path, "events", "inference", code=1).stderr


def test_a_baseline_of_what_there_is_enough_of(tmp_path: Path) -> None:
    """The README's own way: with one kind of events only, the detectors of the others are skipped, and told."""
    rows = [
        {
            "@timestamp": f"2026-03-{day:02}T09:{i:02}:00Z",
            "event": {"id": f"{day}-{i}", "action": "read", "outcome": "success"},
            "user": {"id": f"user-{i % 6}"},
            "tocsin": {"resource": {"type": "model", "id": f"m{i % 5}"}},
        }
        for day in range(1, 31)
        for i in range(15)
    ]
    (tmp_path / "access.ndjson").write_text("\n".join(map(json.dumps, rows)) + "\n")
    run(tmp_path, "collect", "ndjson", "access.ndjson")
    done = run(tmp_path, "baseline", "fit", "--from", "2026-03-01", "--to", "2026-03-31", "--pin", "--json")
    assert [row["detector"] for row in lines(done)] == ["registry_access"]
    assert "skipped: detector feature_drift" in done.stderr
    run(tmp_path, "baseline", "fit", "--detector", "feature_drift", "--to", "2026-03-31", code=1)


def test_a_time_may_be_set_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    run(tmp_path, "collect", "dataset", "a.csv", "--set", "time=2026-03-02T03:00:00Z")
    (row,) = lines(run(tmp_path, "events", "dataset", "--json"))
    assert row["@timestamp"] == "2026-03-02T03:00:00Z"


def test_a_plugin_that_ends_the_process_does_not(tmp_path: Path) -> None:
    (tmp_path / "quitter.py").write_text("raise SystemExit(0)\n")
    assert "cannot be imported" in run(tmp_path, "plugins", "check", "quitter.py", code=2).stderr


def test_json_on_a_terminal_of_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"@timestamp": "2026-03-02T09:00:00Z", "event": {"action": "läuft ✓"}}
    (tmp_path / "access.ndjson").write_text(json.dumps(event) + "\n")
    run(tmp_path, "collect", "ndjson", "access.ndjson")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (row,) = lines(run(tmp_path, "events", "access", "--json"))
    assert row["event.action"] == "läuft ✓"
    run(tmp_path, "events", "access")
