"""Secrets: named in the configuration, kept in the environment or in a file, read when needed."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tocsin.config import params
from tocsin.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: `{env: NAME}` or `{file: PATH}`. The value itself is never kept or shown."""

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if bool(self.env) == bool(self.file):
            raise ConfigError("a secret names either env (a variable) or file (a path)")

    @classmethod
    def parse(cls, values: Any, folder: Path | None = None) -> Self:
        """Read `{env: NAME}` or `{file: PATH}`; a relative path is relative to `folder`.

        Raises:
            ConfigError: it is something else. The message does not show it: it may be the secret itself.
        """
        if not isinstance(values, dict):
            raise ConfigError("a secret is given as {env: NAME} or {file: PATH}, never as the value itself")
        found: Self = params.build(cls, values)
        return found.below(folder) if folder else found

    def below(self, folder: Path) -> Self:
        """The same with a relative path taken relative to `folder`."""
        return dataclasses.replace(self, file=str(folder / self.file)) if self.file else self

    def reveal(self) -> str:
        """The secret, read now; a line end at the end of a file does not belong to it.

        Raises:
            ConfigError: the variable is not set, the file cannot be read, or it is empty.
        """
        if self.env:
            value, place = os.environ.get(self.env, ""), f"environment variable {self.env}"
        else:
            place = f"file {self.file}"
            try:
                value = Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise ConfigError(f"cannot read the secret in {place}: {why}") from None
        if not value:
            raise ConfigError(f"there is no secret in {place}; set it, or name another")
        return value


def secrets_of(settings: Any) -> dict[str, Secret]:
    """The secrets among the fields of a params dataclass, by name."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: value for name, value in values.items() if isinstance(value, Secret)}
