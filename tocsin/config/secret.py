"""Secrets. The configuration names an environment variable or a file; the value is read from there when it is needed."""

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
    """A reference to a secret: `{env: NAME}` or `{file: PATH}`. The value itself is never stored or shown."""

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if bool(self.env) == bool(self.file):
            raise ConfigError("a secret must have either env (an environment variable) or file (a path)")

    @classmethod
    def parse(cls, values: Any, folder: Path | None = None) -> Self:
        """Parse `{env: NAME}` or `{file: PATH}`; a relative path is relative to `folder`.

        Raises:
            ConfigError: `values` has another form. The message does not show them, since they may be the secret itself.
        """
        if not isinstance(values, dict):
            raise ConfigError(
                "a secret must be written as {env: NAME} or {file: PATH}, not as the secret itself"
            )
        found: Self = params.build(cls, values)
        return found.below(folder) if folder else found

    def below(self, folder: Path) -> Self:
        """The same reference, with a relative path resolved against `folder`."""
        return dataclasses.replace(self, file=str(folder / self.file)) if self.file else self

    def reveal(self) -> str:
        """Read the value of the secret. Line ends at the end of a file are removed.

        Raises:
            ConfigError: the variable is not set or empty, or the file cannot be read or is empty.
        """
        if self.env:
            value = os.environ.get(self.env, "")
            if not value:
                raise ConfigError(
                    f"environment variable {self.env} is not set or is empty; set it to the secret, or name another"
                )
            return value
        try:
            value = Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"cannot read the secret in file {self.file}: {why}") from None
        if not value:
            raise ConfigError(f"file {self.file} is empty; write the secret to it, or name another file")
        return value


def secrets_of(settings: Any) -> dict[str, Secret]:
    """The fields of a params dataclass that are secrets, by name."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: value for name, value in values.items() if isinstance(value, Secret)}
