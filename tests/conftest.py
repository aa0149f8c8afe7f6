"""What the whole suite shares: where real data and real parts are, and when to skip."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the command line sets it, before libgomp is loaded

import pytest

if TYPE_CHECKING:
    from tests.nodes.cluster import Cluster
    from tests.nodes.node import Node

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
_NAMESPACES = itertools.count()
_SHARED, _URL = pytest.StashKey[contextlib.ExitStack](), pytest.StashKey[str]()


def missing(reason: str) -> None:
    """Skip because a real part is missing; fail instead where TOCSIN_REQUIRE=all asks for every part."""
    if os.environ.get("TOCSIN_REQUIRE") == "all":
        pytest.fail(f"{reason} (TOCSIN_REQUIRE=all)")
    pytest.skip(reason)


#: A test that uses one of these fixtures needs a real node.
_NODES = {"elasticsearch_url", "elasticsearch_cluster", "node"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a cluster as `full`: `make test` leaves those to `make test-all`."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        given = getattr(getattr(item, "callspec", None), "params", {}).values()
        if _NODES & fixtures or "elasticsearch" in [value for value in given if isinstance(value, str)]:
            item.add_marker(pytest.mark.full)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With pytest-xdist: one Elasticsearch node, started by the controller, serves every worker process."""
    config = node.config
    if "not full" in config.option.markexpr or os.environ.get("TOCSIN_TEST_ELASTICSEARCH_URL"):
        return
    if config.stash.get(_SHARED, None) is None:
        from tests.nodes.node import Missing, running

        shared = config.stash[_SHARED] = contextlib.ExitStack()
        folder = shared.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-elasticsearch-"))
        try:
            config.stash[_URL] = shared.enter_context(running(Path(folder))).url
        except Missing:  # each test says so itself
            config.stash[_URL] = ""
    node.workerinput["elasticsearch_url"] = config.stash[_URL]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the node that the worker processes shared."""
    if (shared := config.stash.get(_SHARED, None)) is not None:
        shared.close()


@pytest.fixture(scope="session")
def elasticsearch_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A real node for the session, or the one that TOCSIN_TEST_ELASTICSEARCH_URL names, or a skip."""
    from tests.nodes.node import Missing, running

    shared = getattr(request.config, "workerinput", {}).get("elasticsearch_url")
    given = os.environ.get("TOCSIN_TEST_ELASTICSEARCH_URL") or shared
    if given:
        yield given
        return
    try:
        with running(tmp_path_factory.mktemp("elasticsearch")) as node:
            yield node.url
    except Missing as error:
        missing(str(error))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A real node that a test may kill and bring back, or a skip."""
    from tests.nodes.node import Missing, running

    try:
        with running(tmp_path / "node") as found:
            yield found
    except Missing as error:
        missing(str(error))


@pytest.fixture(scope="session", autouse=True)
def _store_of_the_session(request: pytest.FixtureRequest) -> None:
    if os.environ.get("TOCSIN_TEST_STORE") == "elasticsearch":
        os.environ["TOCSIN_STORE_URL"] = request.getfixturevalue("elasticsearch_url")


@pytest.fixture(autouse=True)
def _namespace_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a configuration that names no namespace gets where the suite runs on a cluster."""
    if os.environ.get("TOCSIN_TEST_STORE") == "elasticsearch":
        monkeypatch.setenv("TOCSIN_NAMESPACE", f"run{os.getpid()}x{next(_NAMESPACES)}")


@pytest.fixture(scope="module")
def elasticsearch_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three real nodes that a module may kill and bring back, or a skip."""
    from tests.nodes.cluster import cluster
    from tests.nodes.node import Missing

    try:
        with cluster(tmp_path_factory.mktemp("cluster")) as found:
            yield found
    except Missing as error:
        missing(str(error))


@pytest.fixture
def namespace() -> str:
    """A namespace of a cluster that no other test uses."""
    return f"test{os.getpid()}x{next(_NAMESPACES)}"


@pytest.fixture(scope="session")
def shared_data():
    """`shared_data(name)`: the folder of a shared data set, or a skip."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            missing(f"../shared/data/{name} is not here")
        return folder

    return find
