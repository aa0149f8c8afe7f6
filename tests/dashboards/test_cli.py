"""`tocsin dashboards` as its users meet it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.dashboards.grafana_stub import TOKEN, Stub
from tocsin_dashboards import alert_rules, changes
from tocsin_dashboards.changes import Change
from tocsin_dashboards.grafana import GrafanaError

TOCSIN = Path(sys.executable).with_name("tocsin")
RULES = ROOT / "deploy" / "grafana" / "alerting" / "tocsin.yml"


@pytest.fixture
def folder(tmp_path: Path, url: str) -> Path:
    (tmp_path / "tocsin.yaml").write_text(f"grafana:\n  url: {url}\n  token: {{file: token}}\n")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return tmp_path


def run(folder: Path, *arguments: str, code: int = 0, **how: Any) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TOCSIN_")}
    done = subprocess.run(
        [TOCSIN, "dashboards", *arguments],
        cwd=folder,
        env=environment | how.pop("env", {}),
        text=True,
        timeout=60,
        check=False,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr + done.stdout
    return done


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["uid"]: row for row in found}


def test_build_writes_what_it_must_and_checks_it(tmp_path: Path) -> None:
    to = tmp_path / "boards"
    assert "added" in run(tmp_path, "build", "--to", str(to)).stdout
    run(tmp_path, "build", "--to", str(to), "--check")
    file = to / "tocsin-health.json"
    text = file.read_text()
    file.write_text(text.replace("42", "41"))
    (to / "mine.json").write_text('{"uid": "mine", "tags": []}')
    (to / "tocsin-old.json").write_text('{"uid": "tocsin-old", "tags": ["tocsin"]}')
    printed = [
        json.loads(x)
        for x in run(tmp_path, "build", "--to", str(to), "--check", "--json", code=1).stdout.splitlines()
    ]
    assert {Path(row["file"]).name: row["state"] for row in printed} == {
        "tocsin-health.json": "changed",
        "tocsin-old.json": "removed",
    }
    run(tmp_path, "build", "--to", str(to))
    assert file.read_text() == text
    assert (to / "mine.json").exists() and not (to / "tocsin-old.json").exists()


def test_what_compose_mounts_is_built() -> None:
    assert "every file is up to date" in run(ROOT, "build", "--check").stderr


def test_build_elsewhere_says_where_it_belongs(tmp_path: Path) -> None:
    assert (
        "start this command in Tocsin's repository, or use --to FOLDER"
        in run(tmp_path, "build", code=1).stderr
    )


def test_diff_and_push_agree(folder: Path, stub: Stub) -> None:
    assert rows(run(folder, "diff", "--json", code=1))["tocsin-health"]["state"] == "added"
    assert stub.writes == []
    pushed = rows(run(folder, "push", "--yes", "--json", "--alerting", str(RULES)))
    assert pushed["tocsin-health"]["state"] == "added" and pushed["tocsin"]["kind"] == "alert rules"
    written = list(stub.writes)
    assert run(folder, "diff", "--alerting", str(RULES)).stdout.count("unchanged") > 2
    assert "nothing to write" in run(folder, "push", "--alerting", str(RULES)).stderr
    assert stub.writes == written


def test_push_asks_a_person(folder: Path, stub: Stub) -> None:
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        try:
            os.write(ours, answer)
            done = run(folder, "push", code=code, stdin=theirs)
        finally:
            os.close(ours)
            os.close(theirs)
        assert "Write this to Grafana? [y/N]" in done.stdout and "added" in done.stdout
        assert bool(stub.writes) is (code == 0)


def test_push_writes_nothing_where_nobody_can_be_asked(folder: Path, stub: Stub) -> None:
    done = run(folder, "push", code=2)
    assert "check `tocsin dashboards diff`, then use --yes" in done.stderr
    assert stub.writes == []


def test_a_change_in_grafana_is_shown_kept_and_pulled(folder: Path, stub: Stub) -> None:
    run(folder, "push", "--yes")
    stub.save("tocsin-health", {**stub.newest("tocsin-health")["data"], "title": "Ada's \x1b[31m"}, "ada")
    printed = [json.loads(line) for line in run(folder, "diff", "--json", code=1).stdout.splitlines()]
    assert any("changed in Grafana by ada" in row["reason"] for row in printed)
    done = run(folder, "diff", code=1)
    assert '-  "title": "Ada' in done.stdout
    assert "\x1b" not in done.stdout
    run(folder, "push", "--yes")
    assert stub.newest("tocsin-health")["createdBy"] == "ada"
    run(folder, "pull", "tocsin-health", "--output", "health.patch")
    patch = (folder / "health.patch").read_text()
    assert patch.startswith(
        f"diff --git a/{changes.FOLDER}/tocsin-health.json b/{changes.FOLDER}/tocsin-health.json"
    )
    assert run(folder, "pull", "tocsin-health").stdout == patch
    run(folder, "push", "--yes", "--overwrite")
    assert "in Grafana is the same as the built one" in run(folder, "pull", "tocsin-health").stderr
    assert "did you mean" in run(folder, "pull", "tocsin-helth", code=1).stderr


def test_a_token_without_rights_is_one_line(folder: Path, stub: Stub) -> None:
    stub.denied.add("dashboards:create")
    printed = run(folder, "push", "--yes", code=1).stderr
    assert "lacks the permission dashboards:create" in printed and printed.count("\n") == 1


def test_without_a_grafana_it_says_what_to_set(tmp_path: Path) -> None:
    printed = run(tmp_path, "diff", code=2).stderr
    assert "no Grafana is named: set `grafana.url` and `grafana.token` in tocsin.yaml" in printed


def test_the_environment_may_name_it(tmp_path: Path, url: str) -> None:
    named = {"TOCSIN_GRAFANA_URL": url, "TOCSIN_GRAFANA_TOKEN": TOKEN}
    assert rows(run(tmp_path, "diff", "--json", code=1, env=named))["tocsin-health"]["state"] == "added"


def test_without_the_extra_it_says_how_to_install_it(folder: Path) -> None:
    missing = folder / "missing"
    (missing / "grafana_client").mkdir(parents=True)
    (missing / "grafana_client" / "__init__.py").write_text(
        "raise ModuleNotFoundError(name='grafana_client')"
    )
    path = f"{missing}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    printed = run(folder, "diff", code=1, env={"PYTHONPATH": path}).stderr
    assert "pip install 'tocsin[grafana]'" in printed


def test_files_that_are_none_are_told(folder: Path) -> None:
    (folder / "wrong.yml").write_text("groups: 3")
    for option in ("--alerting", "--sources"):
        assert "wrong.yml: is no file of" in run(folder, "diff", option, "wrong.yml", code=2).stderr
    assert alert_rules.FILE.name == RULES.name


def test_a_push_that_fails_half_way_says_what_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    from tocsin.cli import main  # noqa: F401 — the group before its commands
    from tocsin.cli.dashboards import _written

    def refuse() -> Change:
        raise GrafanaError("no rights")

    first = Change("dashboard", "a", "A", "added", "", "", lambda: first)
    with pytest.raises(GrafanaError):
        _written([first, Change("dashboard", "b", "B", "added", "", "", refuse)])
    assert capsys.readouterr().err == (
        "the push failed at b; written before that: a; another push writes the rest\n"
    )
