"""The deployment says what the code understands: services, secrets, roles, settings, alert rules."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import shutil
import stat
import subprocess
import threading
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from deploy import setup
from tests.conftest import ROOT, missing
from tocsin.cli.main import tocsin as cli
from tocsin.config import Config, load
from tocsin.metrics import Metrics
from tocsin.store import mappings
from tocsin.store.cluster import connect
from tocsin.streams import STREAMS
from tocsin_dashboards import alert_rules, changes, provision

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = {"secrets", "setup"}
LASTING = sorted(SERVICES.keys() - JOBS)
OURS = sorted(name for name, s in SERVICES.items() if s["image"].startswith("tocsin:"))
PROFILES = {
    "small": {"secrets", "setup", "elasticsearch", "worker-1", "mailpit"},
    "full": set(SERVICES),
}
LOADER = "v2.16.2"


@pytest.fixture(scope="module")
def config() -> Config:
    return load(DEPLOY / "tocsin" / "tocsin.yaml")


def _mounts(service: str) -> dict[str, tuple[str, bool]]:
    """Target → (source, may it be written to)."""
    found = {}
    for mount in SERVICES[service].get("volumes", []):
        source, target, *rest = re.sub(r"\$\{[^}]*:-([^}]*)\}", r"\1", mount).split(":")
        found[target] = (source, rest != ["ro"])
    return found


def _network(name: str) -> Mapping[str, Any]:
    return COMPOSE["networks"][name] or {}


# Every service


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
    assert {n for n in used if _network(n).get("internal")} == {"store", "watch"}
    for name, service in SERVICES.items():
        published = "ports" in service
        assert ("front" in service.get("networks", [])) is published, name
    of_store = {name for name, s in SERVICES.items() if "store" in s.get("networks", [])}
    assert of_store == {"elasticsearch", "setup", "worker-1", "worker-2", "grafana"}


def test_volumes_and_files_are_there() -> None:
    used = set()
    for name in SERVICES:
        for source, _ in _mounts(name).values():
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                used.add(source)
    assert used == COMPOSE["volumes"].keys()


def test_only_jobs_can_write_secrets() -> None:
    for name in SERVICES:
        for source, writable in _mounts(name).values():
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
        said = re.search(rf"^\| {profile} \|.* (\d+) GiB \|$", text, re.MULTILINE)
        assert said and int(said[1]) - 1 < sum(map(_memory, names - JOBS)) <= int(said[1])


def _memory(name: str) -> float:
    """GiB that a service may take."""
    limit = re.sub(r"\$\{[^}]*:-([^}]*)\}", r"\1", SERVICES[name]["mem_limit"])
    return int(limit[:-1]) / {"g": 1, "m": 1024}[limit[-1]]


def test_dependencies_wait_for_the_right_thing() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how == {"condition": wanted}


# Secrets


def test_no_secret_stands_in_a_file() -> None:
    named = re.compile(r"password|secret_key|token|api_?key", re.IGNORECASE)
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if named.search(variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                folder, _, file = value.rpartition("/")
                assert _mounts(name)[folder][0].startswith("secrets-"), f"{name}: {variable}"
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
        source, _ = _mounts(service)[folder]
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
    assert _secrets(secrets) == "secrets: all there\n"
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
    assert "made grafana/tls.crt" in _secrets(secrets)
    after = _content(secrets)
    assert {n for n in before if before[n] != after[n]} == {"grafana/tls.crt", "grafana/tls.key"}


def test_the_authoritys_key_may_be_kept_elsewhere_until_it_signs(secrets: Path) -> None:
    (secrets / "authority" / "ca.key").unlink()
    assert _secrets(secrets) == "secrets: all there\n"
    (secrets / "grafana" / "tls.crt").unlink()
    assert "grafana/tls.crt cannot be signed" in _secrets(secrets, code=1)


def test_an_authority_without_its_certificate_is_refused(secrets: Path) -> None:
    (secrets / "ca" / "ca.crt").unlink()
    assert "bring it back" in _secrets(secrets, code=1)


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda p: p.name)
def test_shell_scripts_can_be_read(script: Path) -> None:
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Tocsin's own services


def test_workers_run_commands_and_files_that_there_are(config: Config) -> None:
    docker = (ROOT / "Dockerfile").read_text()
    path = re.search(r"TOCSIN_CONFIG=(\S+)", docker)
    assert path and 'ENTRYPOINT ["tocsin"]' in docker
    for name in OURS:
        service = SERVICES[name]
        if "entrypoint" in service:
            assert service["entrypoint"][-1] in _mounts(name)
        else:
            assert service["command"][0] in cli.commands
        if name != "secrets":
            folder, _, file = path[1].rpartition("/")
            assert (ROOT / _mounts(name)[folder][0] / file).exists()
    ran = re.search(r'run\(\["tocsin", "(\w+)", "(\w+)"\]', (DEPLOY / "setup.py").read_text())
    assert ran and ran[2] in cli.commands[ran[1]].commands  # type: ignore[attr-defined]
    variables = {v for name in OURS for v in SERVICES[name].get("environment", {})}
    assert variables == set()  # all settings stand in tocsin.yaml
    assert cli.params[0].envvar == "TOCSIN_CONFIG"


def test_paths_of_the_configuration_are_mounted(config: Config) -> None:
    for worker in ("worker-1", "worker-2"):
        mounts = _mounts(worker)
        sources = [p for c in config.collectors for p in c.params["paths"]]
        assert all(p in mounts for p in sources)
        source, writable = mounts[str(Path(str(config.store.spool)).parent)]
        assert (source, writable) == (worker, True)  # a spool is a worker's own


def test_workers_can_be_built_and_reach_what_they_name(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin import assembly
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


# What Prometheus, Alertmanager and Grafana are told


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "tocsin.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_use_metrics_that_there_are() -> None:
    known = {family.name for family in Metrics().registry.collect()}
    known |= {f"{name}{suffix}" for name in known for suffix in ("_total", "_bucket", "_sum", "_count")}
    used = {name for rule in _rules() for name in re.findall(r"\btocsin_\w+", rule["expr"])}
    assert used and used <= known
    others = {n for rule in _rules() for n in re.findall(r"\b\w+(?=\{)", rule["expr"])} - used
    assert others == {"up"}


def test_every_alert_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [r["alert"] for r in _rules() if f"`{r['alert']}`" not in text] == []
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in _rules())


@pytest.mark.parametrize(
    "asked",
    [
        ["promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
        ["promtool", "test", "rules", ROOT / "tests" / "data" / "tocsin.rules.test.yml"],
        ["amtool", "check-config", DEPLOY / "alertmanager.yml"],
    ],
    ids=["prometheus", "rules", "alertmanager"],
)
def test_their_own_programs_take_it(asked: list[Any]) -> None:
    if shutil.which(asked[0]) is None:
        missing(f"{asked[0]} is not on this machine (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_reads_tocsins_streams(config: Config) -> None:
    given = yaml.safe_load((DEPLOY / "grafana" / "datasources" / "tocsin.yml").read_text())["datasources"]
    assert len({d["uid"] for d in given}) == len(given)
    allowed = [pattern for part in _role("grafana")["indices"] for pattern in part["names"]]
    for elastic in (d for d in given if d["type"] == "elasticsearch"):
        assert elastic["url"] in config.store.hosts
        for index in elastic["jsonData"]["index"].split(","):
            assert any(fnmatch(index.removesuffix("*") + "default", pattern) for pattern in allowed), index
    boards = [json.loads(path.read_text()) for path in (ROOT / changes.FOLDER).glob("*.json")]
    asked = {
        panel["datasource"]["uid"] for board in boards for panel in board["panels"] if panel["type"] != "row"
    }
    assert asked and asked <= {d["uid"] for d in given}
    hosts = {re.sub(r"https?://([^:]+):\d+", r"\1", d["url"]) for d in given}
    assert hosts <= SERVICES.keys()


def test_grafana_reads_dashboards_and_rules_from_files_that_are_built() -> None:
    mounts = _mounts("grafana")
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text())["providers"]
    assert mounts[provider["options"]["path"]] == (f"./{changes.FOLDER}", False)
    assert provider["folderUid"] == provision.FOLDER_UID and not provider["allowUiUpdates"]
    assert mounts["/etc/grafana/provisioning/dashboards/tocsin.yml"][0] == "./deploy/grafana/dashboards.yml"
    assert mounts["/etc/grafana/provisioning/alerting"] == (f"./{alert_rules.FILE.parent}", False)
    rules = yaml.safe_load((ROOT / alert_rules.FILE).read_text())
    assert provider["folder"] not in {
        group["folder"] for group in rules["groups"]
    }  # they would race for its uid
    sources = {
        d["uid"]
        for d in yaml.safe_load((DEPLOY / "grafana" / "datasources" / "tocsin.yml").read_text())[
            "datasources"
        ]
    }
    asked = {step["datasourceUid"] for g in rules["groups"] for r in g["rules"] for step in r["data"]}
    assert asked == {"__expr__", alert_rules.PROMETHEUS} and alert_rules.PROMETHEUS in sources
    text = (ROOT / "docs" / "operations.md").read_text()
    assert all(f"`{r['title']}`" in text for g in rules["groups"] for r in g["rules"])


def test_nobody_is_paged_twice() -> None:
    groups = yaml.safe_load((ROOT / alert_rules.FILE).read_text())["groups"]
    by_grafana = {r["title"] for g in groups for r in g["rules"] if not r["isPaused"]}
    assert by_grafana and not by_grafana & {rule["alert"] for rule in _rules()}


# Roles


#: What the code asks of Elasticsearch, and the privilege for it: of the cluster, the streams, or the keyed state.
NEEDS: Mapping[str, tuple[str, str]] = {
    "streams.indices.get_index_template": ("cluster", "monitor"),
    "streams.indices.put_index_template": ("cluster", "manage_index_templates"),
    "streams.indices.delete_index_template": ("cluster", "manage_index_templates"),
    "streams.indices.put_mapping": ("streams", "manage"),
    "streams.bulk": ("streams", "create_doc"),
    "streams.search": ("streams", "read"),
    "streams.open_point_in_time": ("streams", "read"),
    "streams.close_point_in_time": ("streams", "read"),
    "streams.indices.get": ("streams", "view_index_metadata"),
    "streams.indices.refresh": ("streams", "maintenance"),
    "state.indices.exists": ("state", "view_index_metadata"),
    "state.indices.create": ("state", "manage"),
    "state.indices.get_mapping": ("state", "view_index_metadata"),
    "state.indices.put_mapping": ("state", "manage"),
    "state.indices.refresh": ("state", "maintenance"),
    "state.indices.update_aliases": ("state", "manage"),
    "state.search": ("state", "read"),
    "state.get": ("state", "read"),
    "state.index": ("state", "index"),
    "state.delete": ("state", "delete"),
}
#: What only `tocsin store setup` and `tocsin store copy` do.
SETUP = {("cluster", "manage_index_templates"), ("streams", "manage"), ("state", "manage")}
#: `tocsin store setup` also names the views, and writes again the records that do not show in them yet.
VIEWS = {("aliases", "manage"), ("state", "read"), ("state", "index")}
WRITES = {("streams", "create_doc"), ("state", "index"), ("state", "delete")}


def _role(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "roles" / f"{name}.json").read_text())
    return found


def _granted(name: str) -> set[tuple[str, str]]:
    role = _role(name)
    found = {("cluster", p) for p in role["cluster"]}
    for part in role["indices"]:
        where = {"tocsin-state-default": "state", "tocsin-alerts-default": "aliases"}.get(
            part["names"][0], "streams"
        )
        found |= {(where, p) for p in part["privileges"]}
    return found


def _calls() -> set[str]:
    """Every call of the client in the store's modules."""
    found = set()
    clients = re.compile(r"(?:^|\.)_?(?:client|raw|writing)\.((?:indices\.)?\w+)$")
    for path in (ROOT / "tocsin" / "store").glob("*.py"):
        where = "state" if path.stem == "elastic_state" else "streams"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                call = clients.search(re.sub(r"\.options\([^()]*\)", "", ast.unparse(node.func)))
                if call and call[1] not in {"close", "options"}:
                    found.add(f"{where}.{call[1]}")
    return found


def test_roles_are_just_what_the_code_needs() -> None:
    assert len(_calls()) > 10 and _calls() <= NEEDS.keys()
    needed = {NEEDS[call] for call in _calls()}
    # A stream is made by its first event: `auto_configure`.
    assert _granted("worker") == needed - SETUP | {("streams", "auto_configure")}
    assert _granted("analyst") == needed - SETUP - WRITES
    # Whoever manages may also look, and that is all that the job does besides.
    assert _granted("setup") == SETUP | VIEWS and needed & SETUP == SETUP
    looks = {"read", "view_index_metadata"}
    assert _granted("grafana") == {("cluster", "monitor")} | {
        (w, p) for w in ("streams", "aliases") for p in looks
    }


def test_roles_cover_every_stream_and_nothing_else() -> None:
    for path in (DEPLOY / "roles").glob("*.json"):
        names = [n for part in _role(path.stem)["indices"] for n in part["names"]]
        assert set(names) <= {
            "logs-tocsin.*-default", "metrics-tocsin.*-default", "tocsin-state-default", "tocsin-files-default",
            "tocsin-alerts-default", "tocsin-incidents-default",
        }  # fmt: skip
        assert path.stem in {"grafana", "setup"} or not any(
            "alerts" in name or "incidents" in name for name in names
        )
        patterns = [re.compile(n.replace(".", r"\.").replace("*", ".*") + "$") for n in names]
        assert all(any(p.match(mappings.name(s, "default")) for p in patterns) for s in STREAMS)
    moved = setup.role("worker", "credit")["indices"]
    assert [n for part in moved for n in part["names"]] == [
        "logs-tocsin.*-credit", "metrics-tocsin.*-credit", "tocsin-state-credit", "tocsin-files-credit",
    ]  # fmt: skip


def test_docs_show_the_roles_as_they_are() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    for path in (DEPLOY / "roles").glob("*.json"):
        assert json.loads(path.read_text()) in shown, path.stem


class _Keys(BaseHTTPRequestHandler):
    """Elasticsearch's API for keys, as its documentation has it: the server of the tests is without security."""

    made: ClassVar[list[dict[str, Any]]] = []
    ended: ClassVar[list[str]] = []

    def _answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=9")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def do_PUT(self) -> None:
        assert self.path == "/_security/api_key"
        assert self.headers["Authorization"] == f"Basic {base64.b64encode(b'elastic:open').decode()}"
        self.made.append(self._body())
        id = f"id{len(self.made)}"
        encoded = base64.b64encode(f"{id}:key".encode()).decode()
        self._answer({"id": id, "name": self.made[-1]["name"], "api_key": "key", "encoded": encoded})

    def do_GET(self) -> None:
        known = [{"id": f"id{n}"} for n, key in enumerate(self.made, 1) if f"name={key['name']}" in self.path]
        self._answer({"api_keys": known})

    def do_DELETE(self) -> None:
        self.ended.extend(self._body()["ids"])
        self._answer({"invalidated_api_keys": [], "previously_invalidated_api_keys": [], "error_count": 0})

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def security() -> Iterator[str]:
    _Keys.made.clear()
    _Keys.ended.clear()
    server = HTTPServer(("127.0.0.1", 0), _Keys)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_keys_are_rotated_without_a_gap(
    security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tocsin.yaml").write_text(f"store: {{type: elasticsearch, hosts: ['{security}']}}")
    monkeypatch.setenv("TOCSIN_CONFIG", str(tmp_path / "tocsin.yaml"))
    for name in ("setup", "worker"):
        (tmp_path / name).mkdir()
    (tmp_path / "setup" / "password").write_text("open")
    with connect([security], basic_auth=("elastic", "open")) as client:
        setup.make(client, "worker", tmp_path / "worker" / "api-key", "default")
    file = tmp_path / "worker" / "api-key"
    first = file.read_text()
    assert base64.b64decode(first) == b"id1:key" and stat.S_IMODE(file.stat().st_mode) & 0o227 == 0
    assert _Keys.made[0]["name"] == "tocsin-worker-default"
    assert _Keys.made[0]["role_descriptors"] == {"tocsin-worker": _role("worker")}
    setup.run(["rotate", "worker"], tmp_path)
    assert base64.b64decode(file.read_text()) == b"id2:key" and _Keys.ended == []
    setup.run(["retire", "worker"], tmp_path)
    assert _Keys.ended == ["id1"]


# The official loader of compose.yaml


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
