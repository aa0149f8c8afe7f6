"""Secrets: read from the environment or a file when needed, and never shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tocsin.config import params
from tocsin.config.secret import Secret, secrets_of
from tocsin.contract.plugin import param
from tocsin.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Params:
    secret: Secret | None = param(None, doc="where the secret is")
    name: str = param("x", doc="something else")


def test_from_the_environment_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = params.build(Params, {"secret": {"env": "TOCSIN_TEST_SECRET"}}).secret
    with pytest.raises(ConfigError, match="environment variable TOCSIN_TEST_SECRET"):
        secret.reveal()
    monkeypatch.setenv("TOCSIN_TEST_SECRET", "s3cret")
    assert secret.reveal() == "s3cret"
    assert "s3cret" not in repr(secret)


def test_from_a_file_relative_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    assert Secret.parse({"file": "key"}, tmp_path).reveal() == "s3cret"
    with pytest.raises(ConfigError, match="No such file"):
        Secret.parse({"file": "gone"}, tmp_path).reveal()
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Secret.parse({"file": "key"}, tmp_path).reveal()
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ConfigError, match="is empty; write the secret to it"):
        Secret.parse({"file": "key"}, tmp_path).reveal()


@pytest.mark.parametrize("value", ["s3cret", ["s3cret"], 7])
def test_a_literal_is_an_error_that_does_not_show_it(value: object) -> None:
    with pytest.raises(ConfigError) as first:
        params.build(Params, {"secret": value})
    with pytest.raises(ConfigError) as second:
        Secret.parse(value)
    assert first.value.key == "secret"
    assert "s3cret" not in f"{first.value} {second.value}"


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ({}, "secret", "either env"),
        ({"env": "A", "file": "b"}, "secret", "either env"),
        ({"value": "s3cret"}, "secret.value", "unknown key 'value'"),
        ({"env": 7}, "secret.env", "must be text"),
    ],
)
def test_a_mistake_is_named(value: dict[str, object], key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        params.build(Params, {"secret": value})
    assert error.value.key == key
    assert "s3cret" not in str(error.value)


def test_secrets_of_settings() -> None:
    built = params.build(Params, {"secret": {"env": "A"}})
    assert secrets_of(built) == {"secret": Secret(env="A")}
    assert secrets_of(Params()) == {}
