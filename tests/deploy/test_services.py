"""Every service of compose.yaml: its rights, its images, its networks and files, and the official loader."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tests.deploy.compose import (
    COMPOSE,
    JOBS,
    LASTING,
    LOADER,
    OURS,
    PROFILES,
    SERVICES,
    mounted,
    network,
)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] and service["mem_limit"] and service["cpus"]
    assert "privileged" not in service and "devices" not in service
    user = int(service["user"].split(":")[0])
    if name == "secrets":
        assert service["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
        assert service["network_mode"] == "none" and "restart" not in service
    else:
        assert user > 0 and "cap_add" not in service and "network_mode" not in service
    assert service["read_only"] is (name != "elasticsearch")  # its start-up script writes into its image


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_is_restarted_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), tag
    assert "." not in image  # Docker Hub: no registry's host is named
    if name in OURS:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert (image, tag) == ("tocsin", version) and SERVICES[name]["pull_policy"] == "build"


def test_elasticsearch_is_the_version_that_is_tested() -> None:
    pom = (ROOT / "tests" / "nodes" / "pom.xml").read_text()
    tested = re.search(r"<elasticsearch.version>([^<]+)<", pom)
    assert tested and SERVICES["elasticsearch"]["image"] == f"elasticsearch:{tested[1]}"


def test_published_ports_are_this_machines_own() -> None:
    ports = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert ports.keys() == {"elasticsearch", "grafana", "mailpit"}
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", p) for of in ports.values() for p in of)


def test_networks_are_apart() -> None:
    used = {n for s in SERVICES.values() for n in s.get("networks", [])}
    assert used == COMPOSE["networks"].keys()
    assert {n for n in used if network(n).get("internal")} == {"store", "watch"}
    for name, service in SERVICES.items():
        published = "ports" in service
        assert ("front" in service.get("networks", [])) is published, name
    of_store = {name for name, s in SERVICES.items() if "store" in s.get("networks", [])}
    assert of_store == {"elasticsearch", "setup", "worker-1", "worker-2", "grafana"}


def test_volumes_and_files_are_there() -> None:
    used = set()
    for name in SERVICES:
        for source, _ in mounted(name).values():
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                used.add(source)
    assert used == COMPOSE["volumes"].keys()


def test_only_jobs_can_write_secrets() -> None:
    for name in SERVICES:
        for source, writable in mounted(name).values():
            if source.startswith(("secrets-", "ca", "authority", "./")) and name not in JOBS:
                assert not writable, f"{name}: {source}"
            if source == "authority":
                assert name == "secrets"
            if source.startswith("secrets-") and name not in JOBS:
                assert source == f"secrets-{name.partition('-')[0]}", name


def test_profiles() -> None:
    for profile, names in PROFILES.items():
        assert {name for name, s in SERVICES.items() if profile in s["profiles"]} == names
        for name in names:
            assert SERVICES[name].get("depends_on", {}).keys() <= names
    text = (ROOT / "docs" / "operations.md").read_text()
    for profile, names in PROFILES.items():
        assert f"--profile {profile}" in text
        row = re.search(rf"^\| {profile} \|.* (\d+) GiB \|$", text, re.MULTILINE)
        assert row and int(row[1]) - 1 < sum(map(_memory, names - JOBS)) <= int(row[1])


def _memory(name: str) -> float:
    """GiB that a service may take."""
    limit = re.sub(r"\$\{[^}]*:-([^}]*)\}", r"\1", SERVICES[name]["mem_limit"])
    return int(limit[:-1]) / {"g": 1, "m": 1024}[limit[-1]]


def test_dependencies_wait_for_the_right_thing() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how == {"condition": wanted}


@pytest.fixture(scope="module")
def loader() -> Path:
    """The Compose Specification's own loader, built once and kept in .cache/go."""
    built = ROOT / ".cache" / "go" / LOADER / "cmd"
    if not built.exists():
        go = shutil.which("go") or "/usr/local/go/bin/go"
        if not Path(go).exists():
            missing("Go is not on this machine (Debian: golang)")
        done = subprocess.run(
            [go, "install", f"github.com/compose-spec/compose-go/v2/cmd@{LOADER}"],
            env={**os.environ, "GOBIN": str(built.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            missing(f"Go could not build the loader of compose.yaml: {done.stderr.strip()[-300:]}")
    return built


def _loaded(loader: Path, file: Path, profile: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [loader, "-format", "json", file],
        cwd=ROOT,
        env={**os.environ, "COMPOSE_PROFILES": profile},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_official_loader_takes_it(loader: Path, profile: str) -> None:
    done = _loaded(loader, ROOT / "compose.yaml", profile)
    assert done.returncode == 0, done.stderr
    project = json.loads(done.stdout)
    assert {n for n, s in project["services"].items() if profile in s["profiles"]} == PROFILES[profile]
    assert all(m["source"] for s in project["services"].values() for m in s["volumes"])


def test_the_official_loader_would_refuse_a_mistake(loader: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("mem_limit:", "memory_limit:"))
    done = _loaded(loader, wrong, "full")
    assert done.returncode == 1 and "memory_limit" in done.stderr
