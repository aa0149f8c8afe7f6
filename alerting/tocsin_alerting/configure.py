"""Reads the `alerting` section of the configuration into settings, receivers and playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tocsin.config.params import unknown
from tocsin.config.secret import secrets_of
from tocsin.contract.findings import Severity
from tocsin.contract.incidents import Playbook
from tocsin.contract.plugin import NoParams, Receiver
from tocsin.errors import ConfigError
from tocsin_alerting.context import Settings
from tocsin_alerting.playbooks.loading import load_playbooks
from tocsin_alerting.receivers.console import Console
from tocsin_alerting.routes import Route, parse_route

_KEYS = ("route", "receivers", "incidents", "playbooks")
#: Used if no route is configured: every alert is written to standard output, one group per subject.
DEFAULT = Route("console", group_by=("detector", "subject_id"))


def configure(
    section: Mapping[str, Any], receivers: Mapping[str, Receiver[Any]], folder: Path
) -> tuple[Settings, dict[str, Receiver[Any]], dict[str, Playbook]]:
    """Read the section; relative paths of playbooks and secrets are relative to `folder`.

    Raises:
        ConfigError: a setting is wrong; `key` is its path below `alerting`.
    """
    for key in section:
        if key not in _KEYS:
            raise ConfigError(unknown(key, _KEYS), key=key)
    playbooks = _playbooks(section, folder)
    known = dict(receivers)
    if "route" in section:
        route = parse_route(section["route"], known, playbooks)
    elif known:
        raise ConfigError(
            "receivers are configured but no route; add `route` with a `receiver`", key="receivers"
        )
    else:
        route, known = DEFAULT, {DEFAULT.receiver: Console(NoParams())}
    for receiver in known.values():
        secrets = secrets_of(receiver.params)
        if secrets:
            found = {name: secret.below(folder) for name, secret in secrets.items()}
            receiver.params = replace(receiver.params, **found)
    return Settings(route, _min_severity(section)), known, playbooks


def _playbooks(section: Mapping[str, Any], folder: Path) -> dict[str, Playbook]:
    given = section.get("playbooks") or []
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise ConfigError("playbooks must be a list of folders", key="playbooks")
    for item in given:
        if not (folder / item).is_dir():
            raise ConfigError(f"playbook folder {folder / item} does not exist", key="playbooks")
    return load_playbooks(folder / item for item in given)


def _min_severity(section: Mapping[str, Any]) -> Severity:
    given = section.get("incidents") or {}
    if not isinstance(given, Mapping):
        raise ConfigError("incidents must be a mapping", key="incidents")
    for key in given:
        if key != "min_severity":
            raise ConfigError(unknown(key, ["min_severity"]), key=f"incidents.{key}")
    value = given.get("min_severity", Severity.HIGH.value)
    if value not in list(Severity):
        raise ConfigError(
            f"min_severity is {value!r}; it must be one of {', '.join(Severity)}",
            key="incidents.min_severity",
        )
    return Severity(value)
