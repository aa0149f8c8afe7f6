"""What must hold between the settings of a configuration, and what a setting's text must say."""

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
_KEPT_BY = ("@timestamp", "event.id", "event.ingested")  # what events are kept by


def check(config: Config) -> None:
    """Raise a ConfigError at the first setting that is wrong."""
    if config.store.type == "elasticsearch":
        _check_cluster(config)
    if not _NAMESPACE.fullmatch(config.namespace):
        raise config.error(
            f"namespace is {config.namespace!r}; write up to 100 of a-z, 0-9, _ and .", ("namespace",)
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
            "a rule pseudonymizes but there is no key; set `ingest.pseudonym_key: {env: NAME}` or `{file: PATH}`",
            ("ingest", "protect"),
        )


def _check_worker(config: Config) -> None:
    for name in ("lease", "overdue", "timeout"):
        config.length(getattr(config.worker, name), "worker", name)
    config.length(config.monitoring.heartbeat_every, "monitoring", "heartbeat_every")
    if config.monitoring.listen is not None and not _ADDRESS.fullmatch(config.monitoring.listen):
        raise config.error(
            f"listen is {config.monitoring.listen!r}; write an address and a port, such as 127.0.0.1:9464",
            ("monitoring", "listen"),
        )


def _check_grafana(config: Config) -> None:
    url, place = config.grafana.url, ("grafana", "url")
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise config.error(f"url is {url!r}; write one such as https://grafana.example.org", place)
    if parts.username is not None:
        raise config.error(
            "url holds a user's name; name a service account's token in `token` instead", place
        )
    if config.grafana.token is not None and _in_the_clear(url):
        raise config.error("the token would go over the network in the clear; write https://…", place)


def _check_cluster(config: Config) -> None:
    section = config.store
    if not section.hosts:
        raise config.error(
            "store type elasticsearch needs hosts, such as [https://localhost:9200]", ("store", "type")
        )
    for i, host in enumerate(section.hosts):
        if section.api_key is not None and _in_the_clear(host):
            raise config.error(
                "the API key would go over the network in the clear; write https://…", ("store", "hosts", i)
            )
    if section.ca_fingerprint is not None:
        place = ("store", "ca_fingerprint")
        if not _FINGERPRINT.fullmatch(section.ca_fingerprint):
            raise config.error(
                "a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons", place
            )
        if section.ca_certs is not None:
            raise config.error("ca_certs and ca_fingerprint name the same thing; leave one out", place)


def _in_the_clear(host: str) -> bool:
    """Whether requests to a URL leave this machine without TLS."""
    if host.lower().startswith("https://"):
        return False
    try:
        name = urlsplit(host).hostname or ""
        return name != "localhost" and not ipaddress.ip_address(name).is_loopback
    except ValueError:  # another name, or no URL at all
        return True


def _check_rule(config: Config, number: int, rule: ProtectRule) -> None:
    place = ("ingest", "protect", number)
    if not rule.field:
        raise config.error("a rule needs the name of a field", place)

    def covered(name: str) -> bool:
        return name == rule.field or name.startswith(f"{rule.field}.")

    for name in filter(covered, _KEPT_BY):
        raise config.error(f"{name} cannot be protected: events are kept by it", place)
    if rule.action == "drop":
        for stream in rule.streams or SOURCES:
            needed = [c.name for c in STREAMS[stream].columns if c.required and covered(c.name)]
            if needed:
                raise config.error(
                    f"{needed[0]} cannot be dropped: no {stream} event is one without it", place
                )
