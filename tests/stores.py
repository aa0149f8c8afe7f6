"""The store that the suite runs on: a folder, or with TOCSIN_TEST_STORE=elasticsearch the session's real node."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tocsin.clock import Clock
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store

ON_ELASTICSEARCH = os.environ.get("TOCSIN_TEST_STORE") == "elasticsearch"
only_embedded = pytest.mark.skipif(ON_ELASTICSEARCH, reason="about the embedded store's files")


def open_store(folder: Path, clock: Clock | None = None, namespace: str = "default") -> Store:
    """The store of a folder; on a cluster a namespace of its own stands for the folder."""
    if not ON_ELASTICSEARCH:
        return DeltaStore.open(folder, namespace, clock)
    own = f"{namespace}.{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    return ElasticStore.open(os.environ["TOCSIN_STORE_URL"], own, clock, replicas=0)


def default_store(folder: Path) -> Store:
    """The store that a configuration in a folder has if it says nothing of one."""
    if not ON_ELASTICSEARCH:
        return DeltaStore.open(folder / "tocsin-data")
    return ElasticStore.open(os.environ["TOCSIN_STORE_URL"], os.environ["TOCSIN_NAMESPACE"], replicas=0)
