"""Builds the store of a worker from the configuration: the embedded one or a cluster's, and the spool before it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.clock import Clock, parse_length
from tocsin.config.secret import Secret
from tocsin.config.settings import Config
from tocsin.pipeline.ingesting.dead_letters import refused_dead_letters
from tocsin.pipeline.ingesting.protect import Protector
from tocsin.store.embedded import state as embedded
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Refused, Store
from tocsin.store.spool.spooled import MakeDeadLetters, SpooledStore

if TYPE_CHECKING:
    from tocsin.store.cluster.elastic import ElasticStore

_API_KEY = re.compile(r"[A-Za-z0-9+/_-]+=*")
#: How long a failing append is retried before its rows are written to the spool.
_PATIENCE = timedelta(seconds=10)


def store(config: Config, clock: Clock, *, prepare: bool = True, key: str | None = None) -> Store:
    """Open the configured store. Without `prepare`, a cluster must have been set up before.

    `key` is the key of a cluster, if the configuration does not name it.

    Raises:
        ConfigError: a secret cannot be read.
        StoreError: the store cannot be opened.
    """
    section = config.store
    if section.type == "delta":
        return DeltaStore.open(config.folder / section.path, config.namespace, clock, retention(config))
    return cluster(config, clock, prepare=prepare, patience=_PATIENCE, key=key)


def check_store(config: Config, clock: Clock) -> str:
    """Check the settings of the store without writing to it, and return its place.

    Raises:
        ConfigError: a secret or certificate cannot be read.
        StoreError: the folder cannot be used, or the store in it has another version or namespace.
    """
    section = config.store
    if section.type != "delta":
        return cluster(config, clock, prepare=False, patience=_PATIENCE).place
    retention(config)
    embedded.check_store(config.folder / section.path, config.namespace)
    return str(config.folder / section.path)


def spool(config: Config, store: Store, clock: Clock, protector: Protector) -> SpooledStore | None:
    """The spool that ingest writes to while the cluster is unavailable; None for an embedded store."""
    section = config.store
    if section.type == "delta":
        return None
    folder, limit = config.folder / section.spool, config.size(section.spool_limit, "store", "spool_limit")
    return SpooledStore(store, folder, clock, dead_letter_maker(clock, protector), limit)


def dead_letter_maker(clock: Clock, protector: Protector) -> MakeDeadLetters:
    """Return a function that creates dead letters from spooled rows that the store rejects."""

    def make(stream: str, rows: pl.DataFrame, refused: Sequence[Refused]) -> pl.DataFrame:
        return refused_dead_letters(stream, rows, refused, protector, clock.now())

    return make


def cluster(
    config: Config,
    clock: Clock,
    *,
    prepare: bool = True,
    patience: timedelta | None = None,
    key: str | None = None,
) -> ElasticStore:
    """Connect to the configured cluster; without `prepare`, nothing in it is changed.

    With `patience`, the cluster may be unavailable, and an append fails after about that time.

    Raises:
        ConfigError: a secret cannot be read, or the store is not a cluster.
        StoreError: the cluster cannot be reached.
    """
    from tocsin.store.cluster.elastic import ElasticStore

    section = config.store
    if section.type != "elasticsearch":
        raise config.error(
            "the store is a folder, which needs no setup; set `type: elasticsearch` for a cluster",
            ("store", "type"),
        )
    security: dict[str, Any] = {}
    if (key := key or api_key(config)) is not None:
        security["api_key"] = key
    if section.ca_certs is not None:
        security["ca_certs"] = _authority(config, config.folder / section.ca_certs)
    if section.ca_fingerprint is not None:
        security["ca_fingerprint"] = section.ca_fingerprint
    return ElasticStore.open(
        section.hosts,
        config.namespace,
        clock,
        retention(config),
        shards=section.shards,
        replicas=section.replicas,
        prepare=prepare,
        patience=patience,
        **security,
    )


def api_key(config: Config) -> str | None:
    """The cluster's API key; None if the configuration names none. The error for an invalid key does not show it."""
    place = ("store", "api_key")
    if config.store.api_key is None:
        return None
    key = config.at(place, lambda: Secret.parse(config.store.api_key, config.folder).reveal())
    if not _API_KEY.fullmatch(key):
        raise config.error(
            "the API key must be base64 of id:key; use `encoded` from Elasticsearch's response when the key was created",
            place,
        )
    return key


def _authority(config: Config, path: Path) -> str:
    """Check that the certificate file of the authority can be read, and return its path."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # also ssl.SSLError
        why = (
            "it contains no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        )
        raise config.error(f"cannot read a certificate from {path}: {why}", ("store", "ca_certs")) from None
    return str(path)


def retention(config: Config) -> dict[str, timedelta]:
    """The configured retention of streams that do not use their default."""
    return {stream: parse_length(length) for stream, length in config.store.retention.items()}


def damaged(store: Store) -> str:
    """Which file of a store in a folder is missing or damaged, in a sentence; empty if none is. Reads every file."""
    return store.tables.damaged() if isinstance(store, DeltaStore) else ""
