"""Writes the picture and the table of rooms in docs/architecture.md, from the imports between the rooms.

    python docs/rooms.py            # write
    python docs/rooms.py --check    # fail if the page is out of date

A room is a folder with one job: a package of `tocsin/`, of `tocsin/store/` or `tocsin/pipeline/`, or a component. The
modules that lie in `tocsin/` itself make two rooms: the shared modules (errors, clock, logs, words) and the public API.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
COMPONENTS = {
    "tocsin_collectors": "collectors",
    "tocsin_detectors": "detectors",
    "tocsin_alerting": "alerting",
    "tocsin_dashboards": "dashboards",
    "tocsin_recorder": "recorder",
}
GROUND, API = "shared modules", "public API"
#: Packages of `tocsin/` whose folders are rooms, too.
_HOUSES = ("tocsin.store", "tocsin.pipeline")
Arrows = Mapping[str, frozenset[str]]


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    folders = {"tocsin": ROOT / "tocsin"} | {
        name: ROOT / folder / name for name, folder in COMPONENTS.items()
    }
    found = {}
    for folder in folders.values():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str, path: Path) -> str:
    """The room that a module is in."""
    parts = module.split(".")
    if parts[0] in COMPONENTS:
        return f"{COMPONENTS[parts[0]]}/"
    if len(parts) < 2 or parts[1] == "_moved":
        return API
    if parts[1] == "__main__":
        return "cli/"
    if len(parts) == 2 and path.name != "__init__.py":
        return GROUND
    deep = ".".join(parts[:2]) in _HOUSES and (
        len(parts) > 3 or (path.name == "__init__.py" and len(parts) == 3)
    )
    return f"{'/'.join(parts[1:3] if deep else parts[1:2])}/"


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the product that a module imports, anywhere in its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def arrows() -> Arrows:
    """Each room and the rooms that it imports from."""
    known = modules()
    found: dict[str, set[str]] = {room(module, path): set() for module, path in known.items()}
    for module, path in known.items():
        here = room(module, path)
        found[here] |= {room(other, known[other]) for other in imports(path, known)} - {here}
    found.pop("pipeline/")  # only a folder of rooms
    return {name: frozenset(others) for name, others in found.items()}


def reachable(graph: Arrows, start: str) -> set[str]:
    """Every room that a room imports from, directly or through others."""
    found, waiting = set[str](), [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def floors(graph: Arrows) -> list[list[str]]:
    """Rooms by height, lowest first: a room is one floor above the highest room that it imports from.

    Raises:
        ValueError: rooms import from one another in a circle.
    """
    height: dict[str, int] = {}
    while len(height) < len(graph):
        ready = {name for name in graph.keys() - height.keys() if graph[name] <= height.keys()}
        if not ready:
            raise ValueError(f"a circle among {sorted(graph.keys() - height.keys())}")
        height |= {name: 1 + max((height[n] for n in graph[name]), default=-1) for name in ready}
    return [sorted(n for n in height if height[n] == floor) for floor in range(max(height.values()) + 1)]


def picture(graph: Arrows) -> Iterator[str]:
    """A Mermaid flowchart. An arrow that follows from two others is left out."""
    yield "```mermaid"
    yield "flowchart TD"
    names = {name: f"r{n}" for n, name in enumerate(sorted(graph))}
    for floor in reversed(floors(graph)):
        yield "    " + "; ".join(f'{names[name]}["{name}"]' for name in floor)
    for name in sorted(graph):
        implied = set[str]().union(*(reachable(graph, other) for other in graph[name]))
        for other in sorted(graph[name] - implied):
            yield f"    {names[name]} --> {names[other]}"
    yield "```"


def table(graph: Arrows) -> Iterator[str]:
    """One line a room, highest floor first, with the first line of its package's docstring."""
    known = modules()
    packages = sorted(
        ((m, p) for m, p in known.items() if p.name == "__init__.py"), key=lambda mp: -len(mp[0])
    )
    about = {room(m, p): ast.get_docstring(ast.parse(p.read_text())) or "" for m, p in packages}
    about[GROUND] = (
        "`tocsin/errors.py`, `clock.py`, `logs.py`, `words.py`: errors, time, logging and number words, for all rooms."
    )
    about[API] = (
        "`tocsin/__init__.py` re-exports the names that plug-ins import. `tocsin/_moved.py` lists the old paths of moved "
        "modules."
    )
    yield "| room | its job | imports from |"
    yield "|---|---|---|"
    for floor in reversed(floors(graph)):
        for name in floor:
            path = (
                name if name in {GROUND, API} or name.rstrip("/") in COMPONENTS.values() else f"tocsin/{name}"
            )
            shown = path if name in {GROUND, API} else f"`{path}`"
            job = about[name].partition("\n\n")[0].replace("\n", " ")
            yield f"| {shown} | {job} | {', '.join(sorted(graph[name])) or '–'} |"


def page() -> str:
    """The page with both parts written anew."""
    graph, text = arrows(), PAGE.read_text()
    count = (
        f"The {len(graph)} rooms have {sum(map(len, graph.values()))} imports from other rooms, counted once for each pair. "
        "No room imports from a room above it, and no rooms import from one another in a cycle."
    )
    for name, lines in {"picture": [*picture(graph), "", count], "rooms": [*table(graph)]}.items():
        start, end = f"<!-- {name}: written by docs/rooms.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        text = before + "\n".join([start, "", *lines, "", end]) + rest.partition(end)[2]
    return text


def layers() -> list[set[str]]:
    """The import contract in pyproject.toml: its rows, highest first, as prefixes of module names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = project["tool"]["importlinter"]["contracts"][0]
    return [set(row.replace(" ", "").split("|")) for row in contract["layers"]]


def main() -> int:
    """Write the page, or say whether it is up to date."""
    new = page()
    if "--check" in sys.argv[1:]:
        current = new == PAGE.read_text()
        print("docs/architecture.md:", "up to date" if current else "out of date; run `make docs`")
        return 0 if current else 1
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
