"""Records sessions of a real MLflow server behind a real nginx: normal work, and twenty intrusions.

Run `python -m tests.generators.mlflow_recording MLFLOW OUT` with the path of an `mlflow` program (3.17 with `[auth]`); it
writes tests/data/mlflow_sessions.log: nginx's access log, with a line `## name` before each session. The tests shift
sessions in time (`tests.generators.mlflow_sessions`).
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.nodes.nginx import free_port, nginx

API = "/api/2.0/mlflow"
#: Believes the name: MLflow's own function hashes the password at every request, which takes seconds.
QUICK = "import flask\n\n\ndef authenticate():\n    return flask.request.authorization\n"
ADMIN = "admin"
PASSWORD = "a-password-of-tests"
AGENT = "mlflow-python-client/3.17.2"
#: The people and services, their addresses, and the models that they work on.
PEOPLE = {
    "maria": ("10.20.1.11", ("credit", "credit-small")),
    "jonas": ("10.20.1.12", ("fraud", "fraud-graph")),
    "aisha": ("10.20.1.13", ("churn",)),
    "pavel": ("10.20.1.14", ("pricing", "pricing-old")),
    "svc-train": ("10.20.9.1", ("nightly",)),
    "svc-deploy": ("10.20.9.2", ()),
    "admin": ("10.20.1.5", ()),
}
NEWCOMERS = {
    "nina": "10.20.1.21",
    "intern": "10.20.1.99",
    "mallory": "203.0.113.66",
    "x-4711": "198.51.100.23",
}
MODELS = [model for _, models in PEOPLE.values() for model in models]


class Client(NamedTuple):
    """A principal at an address with a program."""

    port: int
    user: str
    address: str
    agent: str = AGENT

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON answer of a request; None if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        token = base64.b64encode(f"{self.user}:{PASSWORD}".encode()).decode()
        headers = {
            "Authorization": f"Basic {token}",
            "X-Forwarded-For": self.address,
            "User-Agent": self.agent,
            "Content-Type": "application/json",
        }
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        try:
            return json.loads(text)
        except ValueError:
            return None

    def version(self, model: str) -> str:
        """Create a version of a model; its number."""
        given = {"name": model, "source": f"s3://models/{model}"}
        return str(self.ask("POST", f"{API}/model-versions/create", given)["model_version"]["version"])

    def delete(self, model: str, version: str | None = None) -> None:
        """Delete a version, or a whole model."""
        if version is None:
            self.ask("DELETE", f"{API}/registered-models/delete", {"name": model})
        else:
            self.ask("DELETE", f"{API}/model-versions/delete", {"name": model, "version": version})

    def read(self, model: str) -> None:
        """What a client does to load a model."""
        self.ask("GET", f"{API}/registered-models/get?name={model}")
        self.ask("GET", f"{API}/model-versions/get-download-uri?name={model}&version=1")

    def alias(self, model: str, version: str, alias: str = "champion") -> None:
        """Move an alias."""
        self.ask(
            "POST", f"{API}/registered-models/alias", {"name": model, "alias": alias, "version": version}
        )

    def stage(self, model: str, version: str, stage: str = "Production") -> None:
        """Move a version to a stage."""
        given = {
            "name": model,
            "version": version,
            "stage": stage,
            "archive_existing_versions": stage == "Production",
        }
        self.ask("POST", f"{API}/model-versions/transition-stage", given)

    def grant(self, model: str, user: str, verb: str = "grant", permission: str = "MANAGE") -> None:
        """Give a user a permission on a model, or take it."""
        given = {"username": user, "resource_type": "registered_model", "resource_id": model}
        self.ask("POST", f"/api/3.0/mlflow/users/permissions/{verb}", {**given, "permission": permission})


def normal(port: int) -> Iterator[str]:
    """Sessions of normal work, each named after its principal, as they are made."""
    for user, (address, models) in PEOPLE.items():
        client = Client(port, user, address)
        for number in range(3 if models and not user.startswith("svc") else 0):
            yield f"work {user} {number}"
            client.ask("GET", f"{API}/registered-models/search?max_results=100")
            for model in models:
                client.read(model)
                made = client.version(model)
                client.ask("POST", f"{API}/model-versions/set-tag",
                           {"name": model, "version": made, "key": "auc", "value": "0.81"})  # fmt: skip
        for number in range(2 if models and not user.startswith("svc") else 0):
            yield "before"
            old = [client.version(models[0]) for _ in range(2 + number)]
            yield f"clean {user} {number}"
            client.ask("GET", f"{API}/model-versions/search?max_results=100")
            for gone in old:
                client.delete(models[0], gone)
        if models and not user.startswith("svc"):
            yield f"release {user} 0"
            made = client.version(models[0])
            client.alias(models[0], made)
            client.stage(models[0], made)
            yield f"share {user} 0"
            client.grant(models[0], "jonas" if user != "jonas" else "maria", permission="READ")
            client.grant(models[0], "jonas" if user != "jonas" else "maria", "revoke")
    yield from _others(port)


def _others(port: int) -> Iterator[str]:
    """What services do every night, and a colleague's first day."""
    train, deploy = Client(port, "svc-train", "10.20.9.1"), Client(port, "svc-deploy", "10.20.9.2")
    yield "work svc-train 0"
    last = train.version("nightly")
    train.version("nightly")
    train.delete("nightly", last)
    yield "work svc-deploy 0"
    for model in MODELS:
        deploy.read(model)
    nina = Client(port, "nina", NEWCOMERS["nina"])
    yield "first day nina"
    nina.ask("GET", f"{API}/registered-models/search?max_results=100")
    nina.ask("POST", f"{API}/registered-models/create", {"name": "nina-first"})
    made = nina.version("nina-first")
    nina.delete("nina-first", made)


def record(port: int, log: Path, out: Path) -> None:
    """Make all sessions, and write their lines."""
    from tests.generators.mlflow_intrusions import intrusions

    boss = Client(port, ADMIN, PEOPLE["admin"][0])
    for user in [*PEOPLE, *NEWCOMERS]:
        if user != ADMIN:
            boss.ask("POST", f"{API}/users/create", {"username": user, "password": PASSWORD})
    for user, (address, models) in PEOPLE.items():
        for model in models:
            Client(port, user, address).ask("POST", f"{API}/registered-models/create", {"name": model})
            for _ in range(7):
                Client(port, user, address).version(model)
    with out.open("w", encoding="utf-8") as file:
        name, begin = "", 0
        for sessions in (normal(port), intrusions(port)):
            for following in sessions:
                begin = _write(file, name, log, begin)
                name = following
            begin = _write(file, name, log, begin)
            name = ""


def _write(file: Any, name: str, log: Path, begin: int) -> int:
    time.sleep(0.1)  # nginx writes a line after the answer
    lines = log.read_text(encoding="utf-8").splitlines()
    if name not in ("", "before"):
        file.write("\n".join([f"## {name}", *lines[begin:]]) + "\n")
    return len(lines)


def main() -> None:
    program, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        settings = folder / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = MANAGE\ndatabase_uri = sqlite:///{folder}/auth.db\n"
            f"admin_username = {ADMIN}\nadmin_password = {PASSWORD}\n"
            "authorization_function = quick_auth:authenticate\n",
            encoding="utf-8",
        )
        (folder / "quick_auth.py").write_text(QUICK, encoding="utf-8")
        command = [program, "server", "--app-name", "basic-auth", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", name]
        environment = {
            **os.environ,
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "x",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONPATH": name,
        }
        server = subprocess.Popen(command, env=environment, cwd=name)
        try:
            with nginx(folder, port) as (front, log):
                _ready(front)
                record(front, log, Path(out))
        finally:
            server.terminate()
            server.wait(30)


def _ready(port: int) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        answer = Client(port, ADMIN, "127.0.0.1").ask("GET", f"{API}/registered-models/search?max_results=1")
        if answer is not None and "error_code" not in answer:
            return
        time.sleep(1)
    raise RuntimeError("the MLflow server does not answer")


if __name__ == "__main__":
    main()
