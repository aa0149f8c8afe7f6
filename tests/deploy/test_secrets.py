"""Secrets and certificates: created once, referenced where they are needed, and in no committed file."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, missing
from tests.deploy.compose import (
    DEPLOY,
    SERVICES,
    mounted,
)
from tocsin.config.settings import Config


def test_no_secret_stands_in_a_file() -> None:
    named = re.compile(r"password|secret_key|token|api_?key", re.IGNORECASE)
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if named.search(variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                folder, _, file = value.rpartition("/")
                assert mounted(name)[folder][0].startswith("secrets-"), f"{name}: {variable}"
                assert f"{name}/{file}" in (DEPLOY / "secrets.sh").read_text()
    private = re.compile(r"-----BEGIN|whsec_|ApiKey [A-Za-z0-9+/=]{20}|[0-9a-f]{32}")
    for path in filter(Path.is_file, (*DEPLOY.rglob("*"), ROOT / "compose.yaml", ROOT / "Dockerfile")):
        if "__pycache__" not in path.parts:
            assert not private.search(path.read_text()), path


def test_secrets_that_a_configuration_names_are_made(config: Config) -> None:
    made = (DEPLOY / "secrets.sh").read_text() + (DEPLOY / "setup.py").read_text()
    grafana = (DEPLOY / "grafana" / "datasources" / "tocsin.yml").read_text()
    elastic = yaml.safe_load((DEPLOY / "elasticsearch.yml").read_text())
    named = {"worker-1": [config.store.api_key, config.ingest.pseudonym_key]}
    paths = [("worker-1", s["file"]) for s in named["worker-1"] if s]
    paths += [("worker-1", str(config.store.ca_certs))]
    paths += [("grafana", path) for path in sorted(set(re.findall(r"\$__file\{([^}]+)\}", grafana)))]
    paths += [("elasticsearch", v) for k, v in elastic.items() if k.endswith((".key", ".certificate"))]
    assert len(paths) == 9
    for service, path in paths:
        folder, _, file = path.rpartition("/")
        source, _ = mounted(service)[folder]
        assert source == "ca" or source == f"secrets-{service.partition('-')[0]}"
        assert file in made, path


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        missing("openssl is not on this machine")
    _secrets(tmp_path)
    return tmp_path


def _secrets(folder: Path, code: int = 0) -> str:
    done = subprocess.run(["sh", DEPLOY / "secrets.sh", folder], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_secrets_are_made_once(secrets: Path) -> None:
    first = _content(secrets)
    assert _secrets(secrets) == "secrets: all secrets exist\n"
    assert _content(secrets) == first
    assert not [name for name in first if name.endswith((".new", ".ext"))]
    passwords = [first[n] for n in ("elasticsearch/password", "grafana/admin-password", "grafana/secret-key",
                                    "mailpit/password", "worker/pseudonym-key")]  # fmt: skip
    assert len(set(passwords)) == 5 and all(re.fullmatch(rb"[0-9a-f]{64}", p) for p in passwords)
    assert first["setup/password"] == first["elasticsearch/password"]


def test_only_certificates_may_be_read_by_others(secrets: Path) -> None:
    for path in filter(Path.is_file, secrets.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o444 if path.suffix == ".crt" else 0o400), path


@pytest.mark.parametrize("name", ["elasticsearch", "grafana"])
def test_certificates_are_good(secrets: Path, name: str) -> None:
    authority, certificate = secrets / "ca" / "ca.crt", secrets / name / "tls.crt"
    for host in (name, "localhost"):
        trust: list[Any] = ["-x509_strict", "-CAfile", authority, "-verify_hostname", host]
        asked = ["openssl", "verify", *trust, certificate]
        assert subprocess.run(asked, capture_output=True, check=False).returncode == 0


def test_a_deleted_secret_is_made_anew_and_no_other(secrets: Path) -> None:
    before = _content(secrets)
    (secrets / "grafana" / "tls.crt").unlink()
    assert "created grafana/tls.crt" in _secrets(secrets)
    after = _content(secrets)
    assert {n for n in before if before[n] != after[n]} == {"grafana/tls.crt", "grafana/tls.key"}


def test_the_authoritys_key_may_be_kept_elsewhere_until_it_signs(secrets: Path) -> None:
    (secrets / "authority" / "ca.key").unlink()
    assert _secrets(secrets) == "secrets: all secrets exist\n"
    (secrets / "grafana" / "tls.crt").unlink()
    assert "grafana/tls.crt cannot be signed" in _secrets(secrets, code=1)


def test_an_authority_without_its_certificate_is_refused(secrets: Path) -> None:
    (secrets / "ca" / "ca.crt").unlink()
    assert "restore ca/ca.crt" in _secrets(secrets, code=1)


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda p: p.name)
def test_shell_scripts_can_be_read(script: Path) -> None:
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
