"""What every scaffold has: the package and its declaration."""

from __future__ import annotations

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tocsin-{dashed}"
version = "0.1.0"
description = "A Tocsin {kind}: {name}"
requires-python = ">=3.11"
dependencies = ["tocsin"]

[project.entry-points."tocsin.plugins"]
{name} = "tocsin_{name}"

[tool.hatch.build.targets.wheel]
packages = ["tocsin_{name}"]
"""

_PYTEST = """
[tool.pytest.ini_options]
pythonpath = ["."]
"""

_WITH_CASES = """\
# tocsin-{dashed}

A detector for Tocsin. The class is in `tocsin_{name}/{name}.py`. Its cases are data, in
`cases/{name}.yaml`; `tocsin_{name}/rows.py` generates their rows.

    tocsin plugins check .      # conformance checks and cases
    pip install -e .            # now `tocsin plugins list` shows it
"""

_WITH_TESTS = """\
# tocsin-{dashed}

A {kind} for Tocsin. The class is in `tocsin_{name}/{name}.py`, its tests are in `tests/test_{name}.py`.

    tocsin plugins check .      # conformance checks
    pytest                      # the tests (pip install pytest)
    pip install -e .            # now `tocsin plugins list` shows it
"""

_INIT = '"""Tocsin plug-ins: {name}."""\n'

#: Of a package whose behavior is described by cases.
WITH_CASES = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _WITH_CASES,
    "tocsin_{name}/__init__.py": _INIT,
}
#: Of a package whose behavior is described by pytest tests.
WITH_TESTS = {
    "pyproject.toml": _PYPROJECT + _PYTEST,
    "README.md": _WITH_TESTS,
    "tocsin_{name}/__init__.py": _INIT,
}
