"""Grafana's alert rules about Tocsin's own health, from a provisioning file into a Grafana over its API.

The tree of notification policies is never replaced this way: it is one for the whole Grafana, and somebody's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tocsin.clock import parse_length
from tocsin.errors import ConfigError
from tocsin_dashboards.changes import Change, difference, text, within
from tocsin_dashboards.grafana import Grafana
from tocsin_dashboards.provision import Folder


def read(path: Path) -> dict[str, Any]:
    """A file of alert rules and contact points as Grafana reads it, such as `deploy/grafana/alerting/tocsin.yml`.

    Raises:
        ConfigError: it is no such file.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError("is not YAML", path) from None
    if not isinstance(given, dict) or not isinstance(given.get("groups"), list):
        raise ConfigError("is no file of alert rules as Grafana takes it (`groups: […]`)", path)
    return given


def plan(grafana: Grafana, given: Mapping[str, Any], folder: Folder) -> Iterator[Change]:
    """What a push would do to each group of rules and each contact point; nothing is written.

    Raises:
        GrafanaError: Grafana cannot be asked.
    """
    there = {point.get("uid"): point for point in grafana.contact_points()}
    for point in given.get("contactPoints", ()):
        for receiver in point["receivers"]:
            yield _contact_point(grafana, {"name": point["name"], **receiver}, there.get(receiver["uid"]))
    for group in given["groups"]:
        yield _group(grafana, group, folder)
    for policy in given.get("policies", ()):
        yield Change(
            "policy",
            policy["receiver"],
            "notification policy",
            "kept",
            "the tree is one for the whole Grafana and is not replaced over the API: add a policy for "
            f"`service = tocsin` that goes to {policy['receiver']!r}",
        )


def body(group: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A group of a provisioning file as Grafana's API takes it."""
    return {
        "title": group["name"],
        "folderUid": folder,
        "interval": int(parse_length(group["interval"]).total_seconds()),
        "rules": [_rule(rule, group["name"], folder) for rule in group["rules"]],
    }


def _rule(rule: Mapping[str, Any], group: str, folder: str) -> dict[str, Any]:
    found = {key: value for key, value in rule.items() if key not in {"dashboardUid", "panelId"}}
    shown = {"__dashboardUid__": rule.get("dashboardUid"), "__panelId__": rule.get("panelId")}
    notes = {**rule["annotations"], **{key: str(value) for key, value in shown.items() if value is not None}}
    # The organization is the token's, whatever stands here; the field must be there.
    return {**found, "annotations": notes, "orgID": 1, "folderUID": folder, "ruleGroup": group}


def _group(grafana: Grafana, group: Mapping[str, Any], folder: Folder) -> Change:
    change = partial(Change, "alert rules", group["name"], f"{len(group['rules'])} rules")
    wanted = body(group, folder.uid)
    found = grafana.rule_group(folder.uid, group["name"])
    if found is None or not found.get("rules"):
        return change("added", "", "", partial(_put, grafana, wanted, folder, "added"))
    paused = {rule.get("uid"): rule.get("isPaused", False) for rule in found["rules"]}
    for rule in wanted["rules"]:  # who judges is the site's to say, once the rule is there
        rule["isPaused"] = paused.get(rule.get("uid"), rule.get("isPaused", False))
    compared = {"interval": wanted["interval"], "rules": _plain(wanted["rules"])}
    there = {"interval": found.get("interval"), "rules": _plain(found["rules"])}
    if within(compared, there):
        return change("unchanged")
    if any(rule.get("provenance") != "api" for rule in found["rules"]):
        return change("kept", "made by hand or from a file in Grafana: change it there")
    diff = difference(f"{group['name']}.json", text(_shared(compared, there)), text(compared))
    return change("changed", "", diff, partial(_put, grafana, wanted, folder, "changed"))


def _shared(wanted: Any, found: Any) -> Any:
    """Of what Grafana has, that which is wanted as well: what it adds of its own is no difference."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {key: _shared(wanted[key], value) for key, value in found.items() if key in wanted}
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = [_shared(w, f) for w, f in zip(wanted, found, strict=False)]
        return pairs + found[len(wanted) :]
    return found


def _plain(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules in the order of their uids, without the organization that Grafana puts in."""
    plain = [{key: value for key, value in rule.items() if key != "orgID"} for rule in rules]
    return sorted(plain, key=lambda rule: str(rule.get("uid")))


def _put(grafana: Grafana, wanted: Mapping[str, Any], folder: Folder, state: Any) -> Change:
    grafana.put_rule_group(folder.ensure(), wanted["title"], wanted)
    return Change("alert rules", wanted["title"], f"{len(wanted['rules'])} rules", state)


def _contact_point(grafana: Grafana, wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> Change:
    change = Change("contact point", wanted["uid"], wanted["name"], "unchanged")
    if found is None:
        return Change(
            "contact point", wanted["uid"], wanted["name"], "added", "", "", partial(_point, grafana, wanted)
        )
    return change if within(wanted, found) else change.but("kept", "differs; change it in Grafana")


def _point(grafana: Grafana, wanted: Mapping[str, Any]) -> Change:
    grafana.create_contact_point(wanted)
    return Change("contact point", wanted["uid"], wanted["name"], "added")
