"""Tocsin's own services: commands, files, health and the image."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.compose import (
    DEPLOY,
    OURS,
    SERVICES,
    mounted,
)
from tocsin.cli.main import tocsin as cli
from tocsin.config.settings import Config


def test_workers_run_commands_and_files_that_there_are(config: Config) -> None:
    docker = (ROOT / "Dockerfile").read_text()
    path = re.search(r"TOCSIN_CONFIG=(\S+)", docker)
    assert path and 'ENTRYPOINT ["tocsin"]' in docker
    for name in OURS:
        service = SERVICES[name]
        if "entrypoint" in service:
            assert service["entrypoint"][-1] in mounted(name)
        else:
            assert service["command"][0] in cli.commands
        if name != "secrets":
            folder, _, file = path[1].rpartition("/")
            assert (ROOT / mounted(name)[folder][0] / file).exists()
    ran = re.search(r'run\(\["tocsin", "(\w+)", "(\w+)"\]', (DEPLOY / "setup.py").read_text())
    assert ran and ran[2] in cli.commands[ran[1]].commands  # type: ignore[attr-defined]
    variables = {v for name in OURS for v in SERVICES[name].get("environment", {})}
    assert variables == set()  # all settings are in tocsin.yaml
    assert cli.params[0].envvar == "TOCSIN_CONFIG"


def test_paths_of_the_configuration_are_mounted(config: Config) -> None:
    for worker in ("worker-1", "worker-2"):
        mounts = mounted(worker)
        sources = [p for c in config.collectors for p in c.params["paths"]]
        assert all(p in mounts for p in sources)
        source, writable = mounts[str(Path(str(config.store.spool)).parent)]
        assert (source, writable) == (worker, True)  # each worker has its own spool


def test_workers_can_be_built_and_reach_what_they_name(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.worker import assembly
    from tocsin_alerting.receivers.email import Params

    assembly.settings(config, assembly.catalogue(config))
    mail = dict(config.alerting["receivers"]["on-call"])
    assert mail.pop("type") == "email"
    assert Params(**mail).host in SERVICES
    assert config.store.hosts == ["https://elasticsearch:9200"]
    memory = int(SERVICES["worker-1"]["mem_limit"].rstrip("g")) * 1024
    assert config.worker.memory <= memory / 2


def test_health_is_asked_for_where_it_is_served(config: Config) -> None:
    port = str(config.monitoring.listen).rpartition(":")[2]
    health = f"http://127.0.0.1:{port}/healthz"
    assert health in SERVICES["worker-1"]["healthcheck"]["test"][-1]
    assert health in (ROOT / "Dockerfile").read_text()
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = next(job for job in scraped if job["job_name"] == "tocsin")["static_configs"][0]["targets"]
    assert targets == [f"worker-1:{port}", f"worker-2:{port}"]


def test_the_image_holds_all_that_the_wheel_is_built_from() -> None:
    docker, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text().splitlines()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for folder in {package.split("/")[0] for package in wheel["packages"]}:
        assert f"COPY {folder} {folder}\n" in docker and f"!{folder}" in ignored
    copied = re.search(r"^COPY (pyproject.*) \./$", docker, re.MULTILINE)
    assert copied and all(f"!{name}" in ignored for name in copied[1].split())
    assert "*" in ignored and docker.count("FROM ") == 2 and "USER 10001:10001" in docker
