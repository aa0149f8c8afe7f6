"""What the whole suite shares: where real data and real parts are, and when to skip."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the command line sets it, before libgomp is loaded

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def missing(reason: str) -> None:
    """Skip because a real part is missing; fail instead where TOCSIN_REQUIRE=all asks for every part."""
    if os.environ.get("TOCSIN_REQUIRE") == "all":
        pytest.fail(f"{reason} (TOCSIN_REQUIRE=all)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data():
    """`shared_data(name)`: the folder of a shared data set, or a skip."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            missing(f"../shared/data/{name} is not here")
        return folder

    return find
