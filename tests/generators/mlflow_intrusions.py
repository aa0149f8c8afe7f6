"""Twenty intrusions into a real MLflow server: by name, who intrudes, and what must be named.

Each is described by the hour at which the tests place it. Known principals come from their own address unless the name says
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.generators.mlflow_recording import API, MODELS, NEWCOMERS, PEOPLE, Client


class Intrusion(NamedTuple):
    """An intrusion: who, from where, at which hour (UTC), what it does, and what the finding must name."""

    name: str
    user: str
    hour: float
    act: Callable[[Client], None]
    action: str
    target: str
    address: str = ""
    agent: str = "mlflow-python-client/3.17.2"


FAR = "203.0.113.66"
#: The newest version of each model: its owner makes it before each intrusion.
FRESH: dict[str, str] = {}


def _look(client: Client) -> None:
    client.ask("GET", f"{API}/registered-models/search?max_results=1000")


def _one(client: Client) -> None:
    client.delete("credit", FRESH["credit"])


def _five_and_a_model(client: Client) -> None:
    last = int(FRESH["pricing-old"])
    for version in range(last - 4, last + 1):
        client.delete("pricing-old", str(version))
    client.delete("pricing-old")


def _take_and_delete(client: Client) -> None:
    _look(client)
    for model in ("fraud", "churn"):
        client.read(model)
    client.delete("fraud", FRESH["fraud"])


def _grant_then_delete(client: Client) -> None:
    client.grant("churn", "mallory")
    client.delete("churn", FRESH["churn"])


def _grant_late(client: Client) -> None:
    client.grant("churn", "intern")


def _change_grant(client: Client) -> None:
    client.grant("fraud", "x-4711", permission="READ")
    client.grant("fraud", "x-4711", "revoke")
    client.grant("credit", "x-4711")


def _alias(client: Client) -> None:
    client.alias("credit", FRESH["credit"])


def _alias_of_own_upload(client: Client) -> None:
    client.alias("fraud", client.version("fraud"))


def _stage(client: Client) -> None:
    client.stage("credit", FRESH["credit"])


def _archive(client: Client) -> None:
    client.stage("fraud", FRESH["fraud"], "Archived")


def _recreate(client: Client) -> None:
    client.delete("churn")
    client.ask("POST", f"{API}/registered-models/create", {"name": "churn"})
    client.version("churn")


def _drop_alias(client: Client) -> None:
    client.ask(
        "DELETE",
        f"{API}/registered-models/alias?name=credit&alias=champion",
        {"name": "credit", "alias": "champion"},
    )


def _delete_experiment(client: Client) -> None:
    client.ask("POST", f"{API}/experiments/delete", {"experiment_id": "0"})
    client.delete("nightly", FRESH["nightly"])


def _wipe(client: Client) -> None:
    _look(client)
    for model in MODELS[:2]:
        client.delete(model, FRESH[model])


def _ajax(client: Client) -> None:
    client.ask(
        "DELETE", "/ajax-api/2.0/mlflow/model-versions/delete", {"name": "fraud", "version": FRESH["fraud"]}
    )


def _padded(client: Client) -> None:
    client.ask(
        "DELETE",
        f"{API}/model-versions/delete",
        {"padding": "x" * 3000, "name": "credit", "version": FRESH["credit"]},
    )


def _new_account(client: Client) -> None:
    client.ask("POST", f"{API}/users/create", {"username": "backdoor", "password": "long-enough-for-tests"})
    client.delete("credit-small", FRESH["credit-small"])


ALL = (
    Intrusion(
        "an unknown principal from a new address deletes one version",
        "mallory",
        10.5,
        _one,
        "delete",
        "credit",
        FAR,
    ),
    Intrusion(
        "a known one deletes five versions and a model of its own",
        "pavel",
        10.2,
        _five_and_a_model,
        "delete",
        "pricing-old",
    ),
    Intrusion(
        "a stranger downloads and deletes at 02:40",
        "x-4711",
        2.67,
        _take_and_delete,
        "delete",
        "fraud",
        "198.51.100.23",
    ),
    Intrusion("an intern deletes a version on the first day", "intern", 9.5, _one, "delete", "credit"),
    Intrusion("the training key deletes another model", "svc-train", 1.6, _one, "delete", "credit"),
    Intrusion(
        "the training key from another network",
        "svc-train",
        1.6,
        _stage,
        "promote",
        "credit",
        FAR,
        "curl/8.5.0",
    ),
    Intrusion("the deployment key deletes", "svc-deploy", 3.6, _take_and_delete, "delete", "fraud"),
    Intrusion("an owner's password at night", "aisha", 2.2, _recreate, "delete", "churn"),
    Intrusion("an owner's password from another network", "maria", 11.0, _one, "delete", "credit", FAR),
    Intrusion("the permission is changed first", "jonas", 10.4, _grant_then_delete, "delete", "churn"),
    Intrusion("a right for a stranger, late at night", "aisha", 23.1, _grant_late, "grant", "(permission)"),
    Intrusion(
        "a stranger changes a permission", "mallory", 11.2, _change_grant, "grant", "(permission)", FAR
    ),
    Intrusion("the alias of a production model is moved", "aisha", 10.1, _alias, "promote", "credit"),
    Intrusion("a poisoned version under the alias", "intern", 14.2, _alias_of_own_upload, "promote", "fraud"),
    Intrusion("the stage of a production model is moved", "pavel", 13.4, _stage, "promote", "credit"),
    Intrusion("the production version is archived by night", "jonas", 23.4, _archive, "promote", "fraud"),
    Intrusion("deleted and created again by a colleague", "maria", 10.9, _recreate, "delete", "churn"),
    Intrusion("an alias is removed", "x-4711", 15.3, _drop_alias, "delete_alias", "credit", "198.51.100.23"),
    Intrusion("the interface of the browser", "intern", 16.1, _ajax, "delete", "fraud", agent="Mozilla/5.0"),
    Intrusion(
        "names behind padding", "mallory", 12.3, _padded, "delete", "credit", FAR, "python-requests/2.32"
    ),
    Intrusion("several models of several owners", "aisha", 11.6, _wipe, "delete", "credit"),
    Intrusion("an account made first", "admin", 3.2, _new_account, "delete", "credit-small", FAR),
    Intrusion("an experiment and a version", "pavel", 21.9, _delete_experiment, "delete", "nightly"),
)


def intrusions(port: int) -> Iterator[str]:
    """All intrusions, as they are made."""
    for intrusion in ALL:
        yield "before"
        for owner, (address, models) in PEOPLE.items():
            for model in models:
                client = Client(port, owner, address)
                client.ask("POST", f"{API}/registered-models/create", {"name": model})
                FRESH[model] = [client.version(model) for _ in range(5 if model == "pricing-old" else 2)][-1]
        home = PEOPLE[intrusion.user][0] if intrusion.user in PEOPLE else NEWCOMERS[intrusion.user]
        yield f"intrusion {intrusion.name}"
        intrusion.act(Client(port, intrusion.user, intrusion.address or home, intrusion.agent))
    yield "before"
