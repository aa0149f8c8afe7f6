"""Sidecars: what a producer declares about a dataset file, in a small file beside it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from tocsin.clock import parse_time
from tocsin.errors import InputError

SIDECAR = re.compile(r"\.meta\.(json|ya?ml)$")


class Sidecar(msgspec.Struct, forbid_unknown_fields=True):
    """A producer's description of a file, in `<file>.meta.json` or `<file>.meta.yaml` beside the file."""

    name: str = ""
    label: str = ""
    writer: str = ""
    inputs: tuple[str, ...] = ()
    time: str = ""


def sidecar_path(path: Path) -> Path | None:
    """The sidecar of a file, if there is one."""
    names = (path.with_name(f"{path.name}.meta.{suffix}") for suffix in ("json", "yaml", "yml"))
    return next((name for name in names if name.exists()), None)


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of a file, empty if the file has none.

    Raises:
        InputError: the sidecar cannot be used.
    """
    beside = sidecar_path(path)
    if beside is None:
        return Sidecar()
    try:
        data = beside.read_bytes()
        if beside.suffix == ".json":
            found = msgspec.json.decode(data, type=Sidecar)
        else:  # the base loader returns only text, so that a time keeps its written form
            found = msgspec.convert(yaml.load(data, yaml.BaseLoader) or {}, Sidecar)  # noqa: S506
        msgspec.json.encode(
            found
        )  # raises for half of a surrogate pair: YAML accepts one, no stream stores it
        if found.time:
            parse_time(found.time)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(
            f"{beside}: cannot be used: {reason}; correct it, and the file is read again"
        ) from None
    return found
