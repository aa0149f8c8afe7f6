"""One-shot job of compose.yaml: creates an API key with minimal privileges for each component, then the store's templates.

    setup.py                    create the missing keys, then run `tocsin store setup`
    setup.py rotate worker      create a new key in addition to the current one; then restart the component
    setup.py retire worker      invalidate every key of that component except the current one

It logs in as `elastic`. No other component except Elasticsearch has that password. Running it again changes nothing.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from tocsin.config.load import load
from tocsin.config.secret import Secret
from tocsin.errors import ConfigError, TocsinError
from tocsin.store.cluster.connection import connect, store_errors

ROLES = Path(__file__).parent / "roles"
#: Components with a key in a separate folder, such as `/keys/worker/api-key`.
COMPONENTS = ("worker", "grafana")
#: The job's own key, for `tocsin store setup`: stored in memory, and valid for a limited time.
OWN, LIFE = Path("/secrets/api-key"), "1h"


def role(name: str, namespace: str) -> dict[str, Any]:
    """The privileges of a component in a namespace, from `deploy/roles/<name>.json`, which is for `default`."""
    text = (ROLES / f"{name}.json").read_text().replace('-default"', f'-{namespace}"')
    found: dict[str, Any] = json.loads(text)
    return found


def make(client: Elasticsearch, name: str, file: Path, namespace: str, expiration: str | None = None) -> None:
    """Create an API key and write it to a file atomically, without a line end.

    Raises:
        StoreError: Elasticsearch did not create the key.
    """
    with store_errors(f"create an API key for {name}"):
        key = client.security.create_api_key(
            name=f"tocsin-{name}-{namespace}",
            role_descriptors={f"tocsin-{name}": role(name, namespace)},
            expiration=expiration,
        )
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as opened:
        opened.write(key["encoded"])
    new.replace(file)
    print(f"setup: created an API key for {name}, {key['id']}", flush=True)


def renew(client: Elasticsearch, name: str, file: Path, namespace: str) -> None:
    """Update the privileges of the key in a component's file to the current role, which a newer version may have extended.

    Raises:
        StoreError: Elasticsearch did not change the key.
    """
    id = base64.b64decode(file.read_text()).decode().partition(":")[0]
    with store_errors(f"change the API key for {name}"):
        done = client.security.update_api_key(
            id=id, role_descriptors={f"tocsin-{name}": role(name, namespace)}
        )
    if done["updated"]:
        print(f"setup: the API key for {name} has the role of this version", flush=True)


def retire(client: Elasticsearch, name: str, file: Path, namespace: str) -> None:
    """Invalidate every key of a component except the one in its file.

    Raises:
        StoreError: Elasticsearch did not invalidate the keys.
    """
    kept = base64.b64decode(file.read_text()).decode().partition(":")[0]
    with store_errors(f"invalidate the older API keys for {name}"):
        known = client.security.get_api_key(name=f"tocsin-{name}-{namespace}", active_only=True)["api_keys"]
        old = [key["id"] for key in known if key["id"] != kept]
        if old:
            client.security.invalidate_api_key(ids=old)
    print(f"setup: invalidated {len(old)} older API keys for {name}", flush=True)


def run(arguments: list[str], keys: Path = Path("/keys"), own: Path = OWN) -> int:
    """Execute the command in the arguments and return the exit code.

    Raises:
        ConfigError: the arguments or the configuration are wrong.
        StoreError: a request to Elasticsearch failed.
    """
    config = load(Path(os.environ["TOCSIN_CONFIG"]))
    password = Secret(file=str(keys / "setup" / "password")).reveal()
    trust: dict[str, Any] = {"ca_certs": config.store.ca_certs} if config.store.ca_certs else {}
    with connect(config.store.hosts, basic_auth=("elastic", password), **trust) as client:
        match arguments:
            case []:
                for name in COMPONENTS:
                    file = keys / name / "api-key"
                    (renew if file.exists() else make)(client, name, file, config.namespace)
                make(client, "setup", own, config.namespace, LIFE)
                return subprocess.run(["tocsin", "store", "setup"], check=False).returncode
            case ["rotate", name] if name in COMPONENTS:
                make(client, name, keys / name / "api-key", config.namespace)
            case ["retire", name] if name in COMPONENTS:
                retire(client, name, keys / name / "api-key", config.namespace)
            case _:
                raise ConfigError(
                    f"unknown arguments: use none, or rotate or retire with one of {', '.join(COMPONENTS)}"
                )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except TocsinError as error:
        sys.exit(f"setup: {error}")
