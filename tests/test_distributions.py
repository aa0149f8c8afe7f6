"""The two distributions, `tocsin` and `tocsin-recorder`: what each contains, and that they do not overlap."""

from __future__ import annotations

import ast
import base64
import hashlib
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from itertools import permutations
from pathlib import Path

import pytest

from tests.conftest import ROOT

RECORDER = ROOT / "recorder"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels by distribution, built with the build backend that is installed here."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    for project in (ROOT, RECORDER):
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def files(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_distributions_share_no_file(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"tocsin", "tocsin_recorder"}
    assert files(wheels["tocsin"]) & files(wheels["tocsin_recorder"]) == set()
    assert not any(name.startswith("tocsin_recorder/") for name in files(wheels["tocsin"]))


def test_the_recorder_is_small_and_needs_nothing(wheels: dict[str, Path]) -> None:
    wheel = zipfile.ZipFile(wheels["tocsin_recorder"])
    assert sum(entry.file_size for entry in wheel.infolist()) < 300_000
    metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith("METADATA"))).decode()
    assert "Requires-Dist" not in metadata and "Requires-Python: >=3.9" in metadata


def test_the_recorder_imports_the_standard_library_only() -> None:
    for path in RECORDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top == "tocsin_recorder", f"{path}: {name}"


def test_the_recorder_runs_on_python_3_9() -> None:
    vermin = Path(sys.executable).with_name("vermin")
    command: list[str | Path] = [vermin, "-t=3.9-", "--no-tips", "--violations", RECORDER / "tocsin_recorder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("order", list(permutations(["tocsin", "tocsin_recorder"])), ids="-".join)
def test_installed_and_removed_in_either_order(
    wheels: dict[str, Path], tmp_path: Path, order: tuple[str, str]
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))

    def pip(*arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    def imports(name: str) -> bool:
        code = f"import {name}; {name}.Recorder"
        return not subprocess.run([python, "-c", code], check=False, capture_output=True).returncode

    for name in order:
        pip("install", "--no-deps", "--no-index", str(wheels[name]))
    assert imports("tocsin") and imports("tocsin_recorder")
    first, second = order
    pip("uninstall", "--yes", first)
    assert imports("tocsin_recorder") is (first == "tocsin")
    assert (packages / second).is_dir() and not (packages / first).exists()
    pip("uninstall", "--yes", second)
    assert not (packages / second).exists()


def test_the_grafana_extra_leaves_urllib3_alone() -> None:
    """The Elasticsearch client uses urllib3; grafana-client 4 and newer replace it with another distribution."""
    module = next(file for file in metadata.files("urllib3") or () if str(file) == "urllib3/__init__.py")
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_binary()).digest()).rstrip(b"=").decode()
    assert module.hash is not None and module.hash.value == digest
    installed = {d.metadata["Name"].lower() for d in metadata.distributions()}
    assert "urllib3" in installed and not {"urllib3-future", "urllib3_future", "niquests"} & installed
