"""Data sources in Grafana: those that are missing are made; one that is there is somebody's and stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tocsin.config.secret import Secret
from tocsin.errors import ConfigError
from tocsin_dashboards.changes import Change, within
from tocsin_dashboards.grafana import Conflict, Grafana

#: What Grafana's API takes of a provisioning file's data source.
_KEYS = (
    "name", "uid", "type", "access", "url", "user", "database", "basicAuth", "basicAuthUser", "withCredentials",
    "jsonData", "secureJsonData",
)  # fmt: skip
_VARIABLE = re.compile(r"\$\$|\$__(file|env)\{([^}]+)\}")


def read(path: Path) -> list[dict[str, Any]]:
    """The data sources of a file as Grafana reads them; `$__file{…}` and `$__env{…}` are left for `plan` to read.

    Raises:
        ConfigError: it is no such file.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = [dict(source) for source in given["datasources"]]
        if not all({"name", "uid", "type"} <= source.keys() for source in found):
            raise ConfigError("a data source needs a name, a uid and a type", path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path) from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise ConfigError(
            "is no file of data sources as Grafana takes it (`datasources: […]`)", path
        ) from None
    return found


def plan(grafana: Grafana, sources: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    """What a push would do to each data source; nothing is written. Secrets cannot be read back, nor compared.

    Raises:
        GrafanaError: Grafana cannot be asked.
    """
    for source in sources:
        body = {key: source[key] for key in _KEYS if key in source}
        change = partial(Change, "data source", str(source["uid"]), str(source["name"]))
        found = grafana.data_source(str(source["uid"]))
        if found is None:
            yield change("added", str(source["type"]), "", partial(_create, grafana, body))
            continue
        wrong = [
            key
            for key in body
            if key != "secureJsonData" and not within(_resolved(body[key]), found.get(key))
        ]
        if wrong:
            yield change("kept", f"differs in {', '.join(wrong)}; change it in Grafana")
        else:
            yield change("unchanged")


def _create(grafana: Grafana, body: Mapping[str, Any]) -> Change:
    done = Change("data source", str(body["uid"]), str(body["name"]), "added", str(body["type"]))
    try:
        grafana.create_data_source(_resolved(body))
    except Conflict:
        if grafana.data_source(done.uid) is not None:  # its answer was lost, or somebody else made it
            return done
        return done.but("kept", "another data source has this name; rename one of them")
    return done


def _resolved(value: Any) -> Any:
    """A value with what its variables stand for.

    Raises:
        ConfigError: a file or variable is not there.
    """
    if isinstance(value, Mapping):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    return _VARIABLE.sub(_read, value) if isinstance(value, str) else value


def _read(found: re.Match[str]) -> str:
    return "$" if found[0] == "$$" else Secret(**{found[1]: found[2]}).reveal()
