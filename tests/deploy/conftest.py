"""What the tests of the deployment share."""

from __future__ import annotations

import pytest

from tests.deploy.compose import DEPLOY
from tocsin.config.load import load
from tocsin.config.settings import Config


@pytest.fixture(scope="module")
def config() -> Config:
    """The configuration of the deployed workers."""
    return load(DEPLOY / "tocsin" / "tocsin.yaml")
