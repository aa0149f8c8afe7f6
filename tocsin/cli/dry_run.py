"""`tocsin collect --dry-run`: what a collector reads, printed instead of stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tocsin.cli.output import print_text, show
from tocsin.contract.plugin import Batch, Collector

_SHOWN = 20  # events that are printed
_LONG = frozenset({"tocsin.dataset.profile", "event.id"})  # fields that are printed with --json only


def preview(config: Path | None, kind: str, settings: Mapping[str, Any], *, as_json: bool) -> None:
    """Read a source as if for the first time, and print its events and the reasons of rejected ones. Writes nothing.

    Raises:
        PluginError: no collector of this kind exists.
        ConfigError: a setting is wrong.
        InputError: the source, or a part of it, cannot be read.
    """
    from tocsin.config.load import load
    from tocsin.worker import assembly

    plugin = assembly.catalogue(load(config)).get(Collector, kind)  # type: ignore[type-abstract]
    collector: Collector[Any] = assembly.instance(plugin, settings)
    read = 0
    for batch in collector.collect(lambda *_: None):
        for event in _events(batch):
            read += 1
            if as_json:
                show([event], (), as_json=True, empty="")
            elif read <= _SHOWN:
                print_text("\n".join(_lines(event)))
        for rejected in batch.rejected:
            print_text(f"rejected: {rejected.position}: {rejected.reason}", err=as_json)
    if not as_json:
        more = f", of which {_SHOWN} are printed; --json prints all" if read > _SHOWN else ""
        print_text(f"dry run: {read:,} read{more}; nothing was stored")


def _events(batch: Batch) -> Iterator[Mapping[str, Any]]:
    yield from batch.events
    for line in batch.lines.split(b"\n"):
        if line.strip():
            try:
                event = msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError):
                event = None
            yield event if isinstance(event, dict) else {"event.original": line.decode(errors="replace")}


def _lines(event: Mapping[str, Any]) -> Iterator[str]:
    yield f"event for {_text(event.get('tocsin.dataset.path') or event.get('@timestamp') or 'stream')}"
    for name, value in event.items():
        if name not in _LONG and value not in (None, "", [], {}):
            yield f"  {name}: {_text(value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
