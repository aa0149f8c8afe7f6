"""A real Elasticsearch node from its published server jars: no Docker, loopback only.

`python -m tests.nodes.node` starts one by hand and says where it serves (`make elasticsearch`).
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "elasticsearch"
_JDK = 21  # the oldest Java that the server runs on
_DESCRIPTOR = """\
description=HTTP and transport
version={version}
name=transport-netty4
classname=org.elasticsearch.transport.netty4.Netty4Plugin
java.version=21
elasticsearch.version={version}
extended.plugins=
has.native.controller=false
licensed=false
"""
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class Missing(Exception):  # noqa: N818 — a reason to skip, no error
    """A real part that a node needs is not on this machine."""


def java() -> Path:
    """The `java` of a JDK that is new enough.

    Raises:
        Missing: there is none.
    """
    homes = [os.environ.get("JAVA_HOME", ""), *sorted(map(str, Path("/usr/lib/jvm").glob("*")), reverse=True)]
    for home in filter(None, homes):
        program, release = Path(home) / "bin" / "java", Path(home) / "release"
        if program.exists() and release.exists():
            version = next((line for line in release.read_text().splitlines() if "JAVA_VERSION=" in line), "")
            if int(version.partition('"')[2].partition(".")[0] or 0) >= _JDK:
                return program
    raise Missing(f"no JDK of {_JDK} or newer: looked at JAVA_HOME and in /usr/lib/jvm")


def jars() -> Path:
    """The folder of the server's jars, fetched by Maven the first time.

    Raises:
        Missing: Maven is not there or cannot fetch them.
    """
    folder = CACHE / "jars"
    if (CACHE / "complete").exists():
        return folder
    if shutil.which("mvn") is None:
        raise Missing("Maven is not on this machine")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(
        ["mvn", "-q", "-B", "-f", HERE / "pom.xml", *goal], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"Maven could not fetch Elasticsearch's jars: {done.stdout.strip()[-300:]}")
    (CACHE / "complete").touch()
    return folder


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Node:
    """One node. `start` may be called again after `kill` or `stop`: the data is still there."""

    home: Path
    port: int = field(default_factory=free_port)
    transport: int = field(default_factory=free_port)
    settings: Sequence[str] = ("discovery.type=single-node",)
    options: Sequence[str] = ("-Xmx1g",)  # of Java
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def lay_out(self) -> None:
        """Make the folders that a node needs.

        Raises:
            Missing: a part of it is not on this machine.
        """
        source = jars()
        version = next(source.glob("elasticsearch-[0-9]*.jar")).stem.removeprefix("elasticsearch-")
        netty = self.home / "modules" / "transport-netty4"
        for folder in (
            netty,
            *(self.home / n for n in ("lib/platform/linux-x64", "plugins", "config", "logs")),
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for jar in source.glob("*.jar"):
            module = jar.name.startswith(("transport-netty4-", "netty-", "elasticsearch-ssl-config-"))
            link = (netty if module else self.home / "lib") / jar.name
            if not link.exists():
                link.symlink_to(jar.resolve())
        (netty / "plugin-descriptor.properties").write_text(_DESCRIPTOR.format(version=version))
        (self.home / "config" / "log4j2.properties").write_text(_LOGGING)
        zstd = self.home / "lib" / "platform" / "linux-x64" / "libzstd.so"
        if not zstd.exists():
            zstd.symlink_to(_libzstd())

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            Missing: a part of it is not on this machine.
            RuntimeError: it did not come up.
        """
        self.launch()
        self.await_up()

    def launch(self) -> None:
        """Start its process; it serves a while later.

        Raises:
            Missing: a part of it is not on this machine.
        """
        self.lay_out()
        options = [
            "-Xms512m", *self.options, "--enable-native-access=ALL-UNNAMED", "--add-modules", "jdk.incubator.vector",
            f"-Des.path.home={self.home}", "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false",
            "-XX:+UseSerialGC", "-cp", f"{self.home}/lib/*", str(HERE / "Launcher.java"), str(self.home),
        ]  # fmt: skip
        settings = [
            "cluster.name=tocsin-tests", f"node.name=node-{self.port}", "network.host=127.0.0.1",
            f"http.port={self.port}", f"transport.port={self.transport}",
            "cluster.routing.allocation.disk.threshold_enabled=false", "cluster.max_shards_per_node=20000",
            *self.settings,
        ]  # fmt: skip
        with (self.home / "logs" / "console.log").open("ab") as log:
            self.process = subprocess.Popen([java(), *options, *settings], stdout=log, stderr=log)

    def await_up(self, seconds: float = 90) -> None:
        """Wait until it serves, as a member of its cluster.

        Raises:
            RuntimeError: it did not come up.
        """
        for _ in range(int(seconds * 10)):
            if self.process is None or self.process.poll() is not None or self._serves():
                break
            with_pause(0.1)
        if not self._serves():
            tail = (self.home / "logs" / "console.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the Elasticsearch node did not come up:\n{tail}")

    def _serves(self) -> bool:
        try:
            health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
            with urllib.request.urlopen(health, timeout=3) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """Kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


def with_pause(seconds: float) -> None:
    """Wait for a process outside: the one place in the tests where time itself must pass."""
    import time

    time.sleep(seconds)


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[Node]:
    """One node in a folder, stopped in the end; `how` is as for `Node`."""
    node = Node(folder, **how)
    try:
        node.start()
        yield node
    finally:
        node.kill()


def _libzstd() -> Path:
    name = ctypes.util.find_library("zstd")
    for folder in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        path = Path(folder) / (name or "libzstd.so.1")
        if path.exists():
            return path
    raise Missing("libzstd is not on this machine (Debian: libzstd1)")


def main() -> None:
    """Start a node and keep it until Ctrl-C; or, with a command, until that ends, with the node in TOCSIN_STORE_URL."""
    with tempfile.TemporaryDirectory(prefix="tocsin-elasticsearch-") as folder, running(Path(folder)) as node:
        if command := sys.argv[1:]:
            print(f"Elasticsearch serves at {node.url} until this ends", file=sys.stderr, flush=True)
            done = subprocess.run(command, env={**os.environ, "TOCSIN_STORE_URL": node.url}, check=False)
            sys.exit(done.returncode)
        print(f"Elasticsearch serves at {node.url}; stop it with Ctrl-C", flush=True)
        assert node.process is not None
        try:
            node.process.wait()
        except KeyboardInterrupt:
            print("stopping")


if __name__ == "__main__":
    main()
