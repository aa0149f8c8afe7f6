"""Validation of a configuration beyond types and bounds: formats of texts, and settings that depend on each other."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import urlsplit

from tocsin.config import params
from tocsin.config.sections import ProtectRule, ScheduleSection
from tocsin.config.settings import Config
from tocsin.contract.streams import SOURCES, STREAMS

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_.]{0,99}")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}")
#: Fields by which the store orders and deduplicates events.
_RESERVED = ("@timestamp", "event.id", "event.ingested")


def check(config: Config) -> None:
    """Check all settings.

    Raises:
        ConfigError: a setting is wrong. The error is about the first wrong setting that is found.
    """
    if config.store.type == "elasticsearch":
        _check_cluster(config)
    if not _NAMESPACE.fullmatch(config.namespace):
        raise config.error(
            f"namespace is {config.namespace!r}; use at most 100 characters of a-z, 0-9, _ and ., "
            "and begin with a letter or digit",
            ("namespace",),
        )
    for setting in dataclasses.fields(ScheduleSection):
        config.length(getattr(config.schedule, setting.name), "schedule", setting.name)
    _check_worker(config)
    _check_grafana(config)
    config.size(config.store.spool_limit, "store", "spool_limit")
    for stream, length in config.store.retention.items():
        if stream not in STREAMS:
            raise config.error(params.unknown(stream, STREAMS, "stream"), ("store", "retention", stream))
        config.length(length, "store", "retention", stream)
    for i, rule in enumerate(config.protect):
        for stream in rule.streams:
            if stream not in SOURCES:
                raise config.error(
                    params.unknown(stream, SOURCES, "stream"), ("ingest", "protect", i, "streams")
                )
        _check_rule(config, i, rule)
    if any(r.action == "pseudonymize" for r in config.protect) and not config.ingest.pseudonym_key:
        raise config.error(
            "a rule uses pseudonymize, which requires a key; set `ingest.pseudonym_key: {env: NAME}` or `{file: PATH}`",
            ("ingest", "protect"),
        )


def _check_worker(config: Config) -> None:
    for name in ("lease", "overdue", "timeout"):
        config.length(getattr(config.worker, name), "worker", name)
    config.length(config.monitoring.heartbeat_every, "monitoring", "heartbeat_every")
    if config.monitoring.listen is not None and not _ADDRESS.fullmatch(config.monitoring.listen):
        raise config.error(
            f"listen is {config.monitoring.listen!r}; it must be an address and a port, such as 127.0.0.1:9464",
            ("monitoring", "listen"),
        )


def _check_grafana(config: Config) -> None:
    url, place = config.grafana.url, ("grafana", "url")
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise config.error(
            f"url is {url!r}; it must be an http or https URL, such as https://grafana.example.org", place
        )
    if parts.username is not None:
        raise config.error(
            "url contains a user name; remove it, and set `token` to a service account's token", place
        )
    if config.grafana.token is not None and _is_unencrypted(url):
        raise config.error("the token would be sent unencrypted; use an https:// URL", place)


def _check_cluster(config: Config) -> None:
    section = config.store
    if not section.hosts:
        raise config.error(
            "store type elasticsearch requires `store.hosts`, such as [https://localhost:9200]",
            ("store", "type"),
        )
    for i, host in enumerate(section.hosts):
        if section.api_key is not None and _is_unencrypted(host):
            raise config.error(
                "the API key would be sent unencrypted; use an https:// URL", ("store", "hosts", i)
            )
    if section.ca_fingerprint is not None:
        place = ("store", "ca_fingerprint")
        if not _FINGERPRINT.fullmatch(section.ca_fingerprint):
            raise config.error(
                "ca_fingerprint must be a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons",
                place,
            )
        if section.ca_certs is not None:
            raise config.error(
                "ca_certs and ca_fingerprint both identify the certificate authority; remove one of them",
                place,
            )


def _is_unencrypted(host: str) -> bool:
    """Whether requests to a URL leave this machine without TLS."""
    if host.lower().startswith("https://"):
        return False
    try:
        name = urlsplit(host).hostname or ""
        return name != "localhost" and not ipaddress.ip_address(name).is_loopback
    except ValueError:  # a host name other than localhost, or text that is not a URL
        return True


def _check_rule(config: Config, number: int, rule: ProtectRule) -> None:
    place = ("ingest", "protect", number)
    if not rule.field:
        raise config.error("field is empty; set it to the dotted name of a field, such as user.id", place)

    def covered(name: str) -> bool:
        return name == rule.field or name.startswith(f"{rule.field}.")

    for name in filter(covered, _RESERVED):
        raise config.error(
            f"{name} cannot be protected: the store orders and deduplicates events by it; remove this rule",
            place,
        )
    if rule.action == "drop":
        for stream in rule.streams or SOURCES:
            needed = [c.name for c in STREAMS[stream].columns if c.required and covered(c.name)]
            if needed:
                raise config.error(
                    f"{needed[0]} cannot be dropped: it is required in stream {stream}; pseudonymize or mask it",
                    place,
                )
