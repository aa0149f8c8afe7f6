"""TLS and API keys in front of a node: certificates made by openssl, and nginx as a reverse proxy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.nodes.node import Missing, free_port, with_pause

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_AUTHORITY = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
_LEAF = "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
#: Says no more of its issuer than the name: what who forges a certificate would write.
NAMELESS = "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n"
_REFUSED = (
    '{"error":{"type":"security_exception","reason":"unable to authenticate with provided credentials"},'
    '"status":401}'
)
_CONFIGURATION = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log {folder}/access.log;
  client_max_body_size 100m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{servers}
}}
"""
_SERVER = """\
  server {{
    listen 127.0.0.1:{site.port} ssl;
    ssl_certificate {site.certificate};
    ssl_certificate_key {site.key};
    default_type application/json;
    if ($http_authorization != "ApiKey {api_key}") {{ return 401 '{refused}'; }}
    location / {{ proxy_pass {upstream}; }}
  }}
"""


@dataclass(frozen=True)
class Authority:
    """A certificate authority; `certificate` is its own file."""

    folder: Path
    name: str = "Tocsin test authority"

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def make(self) -> Authority:
        """Make its key and certificate.

        Raises:
            Missing: openssl is not on this machine.
        """
        self.folder.mkdir()
        to = ("-keyout", "ca.key", "-out", "ca.pem")
        self._openssl("req", "-x509", *_CURVE, "-subj", f"/CN={self.name}", "-days", "30", *_AUTHORITY, *to)
        return self

    def issue(self, name: str, address: str = "127.0.0.1", days: int = 30, extensions: str = _LEAF) -> Site:
        """A server's certificate for an IP address; it ends after so many days from now, or before now."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=IP:{address}\n{extensions}")
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("req", *_CURVE, "-subj", f"/CN={name}", *request)
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", *signing, "-days", str(days), "-out", f"{name}.pem"
        )
        return Site(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        if shutil.which("openssl") is None:
            raise Missing("openssl is not on this machine")
        subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=True)


@dataclass(frozen=True)
class Site:
    """A server's certificate (the file may hold a chain) with its key, and the port where it is shown."""

    certificate: Path
    key: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def showing(self, other: Path) -> Site:
        """The same, which sends another certificate after its own."""
        with self.certificate.open("ab") as chain:
            chain.write(other.read_bytes())
        return self


@contextmanager
def proxy(folder: Path, sites: Sequence[Site], upstream: str, api_key: str) -> Iterator[None]:
    """nginx in front of a node at each site; who does not send exactly this API key gets a 401.

    Raises:
        Missing: nginx is not on this machine.
        RuntimeError: it did not come up.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise Missing("nginx is not on this machine (Debian: nginx-light)")
    servers = [
        _SERVER.format(site=site, api_key=api_key, refused=_REFUSED, upstream=upstream) for site in sites
    ]
    user = "user root;" if os.geteuid() == 0 else ""  # its workers must write into the folder
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, user=user, servers="".join(servers)))
    command = [program, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(process, sites[-1].port, folder / "error.log")
        yield
    finally:
        process.terminate()  # a kill would leave its workers behind
        process.wait(10)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if process.poll() is None and probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with_pause(0.1)
    raise RuntimeError(f"nginx did not come up: {log.read_text() if log.exists() else ''}")
