"""TLS, pinned certificates and API keys, as a user sets them: real certificates, and nginx before a real node."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.nodes.node import Missing, free_port
from tests.nodes.tls import NAMELESS, Authority, Site, proxy
from tests.store.conformance import accesses
from tocsin.clock import SystemClock
from tocsin.config.load import load
from tocsin.contract.query import COUNT
from tocsin.errors import ConfigError, StoreError
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.cluster.pinning import pinned
from tocsin.store.protocol import Appended
from tocsin.worker import stores

KEY = base64.b64encode(b"tocsin-id:a-secret-of-tests").decode()
WRONG = base64.b64encode(b"tocsin-id:another-secret").decode()
VARIABLE = "TOCSIN_TEST_API_KEY"


@dataclass(frozen=True)
class Sites:
    """Servers before one node, each with another certificate."""

    authority: Authority
    foreign: Authority
    good: Site
    misnamed: Site
    expired: Site
    forged: Site


@pytest.fixture(scope="module")
def sites(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("tls")
    try:
        ours, foreign = Authority(folder / "ours").make(), Authority(folder / "foreign").make()
        found = Sites(
            ours,
            foreign,
            ours.issue("good").showing(ours.certificate),
            ours.issue("misnamed", address="127.0.0.9"),
            ours.issue("expired", days=-1),
            foreign.issue("forged", extensions=NAMELESS).showing(ours.certificate),
        )
        served = (found.good, found.misnamed, found.expired, found.forged)
        with proxy(folder, served, elasticsearch_url, KEY):
            yield found
    except Missing as error:
        missing(str(error))


@dataclass(frozen=True)
class Workplace:
    """A folder with a `tocsin.yaml`, and the environment with a key."""

    folder: Path
    namespace: str

    def configure(self, url: str, *settings: str) -> Path:
        lines = [f"namespace: {self.namespace}", "store:", "  type: elasticsearch", "  replicas: 0"]
        path = self.folder / "tocsin.yaml"
        path.write_text("\n".join([*lines, f"  hosts: [{url}]", *(f"  {line}" for line in settings)]) + "\n")
        return path

    def open(self) -> ElasticStore:
        return stores.cluster(load(self.folder / "tocsin.yaml"), SystemClock())

    def tocsin(self, *arguments: str, key: str | None = KEY) -> tuple[int, str, str]:
        """Run a command; whatever comes of it, no key is said and no traceback or warning is seen."""
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        environment |= {} if key is None else {VARIABLE: key}
        command = [str(Path(sys.executable).with_name("tocsin")), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        for stream in (done.stdout, done.stderr):
            for word in (KEY, WRONG, "a-secret-of-tests", "another-secret", "Traceback", "arning"):
                assert word not in stream
        return done.returncode, done.stdout, done.stderr

    def fails(self, *arguments: str, key: str | None = KEY, code: int = 1) -> str:
        """The one line that a failing command says."""
        found, out, err = self.tocsin(*arguments, key=key)
        assert (found, out) == (code, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        return line


@pytest.fixture
def work(tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv(VARIABLE, KEY)
    return Workplace(tmp_path, namespace)


BY_KEY = f"api_key: {{env: {VARIABLE}}}"


def by_file(authority: Authority) -> str:
    return f"ca_certs: {authority.certificate}"


def by_fingerprint(certificate: Path) -> str:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first(certificate))).hexdigest().upper()
    return "ca_fingerprint: " + ":".join(digest[i : i + 2] for i in range(0, 64, 2))


def first(file: Path) -> str:
    end = "-----END CERTIFICATE-----\n"
    return file.read_text().partition(end)[0] + end


def works(store: ElasticStore) -> None:
    """Everything that a store does, and twice: by one connection and by several."""
    assert store.append("access", accesses(20_000), {"log": 7}) == Appended(20_000, 0)
    assert store.scan("access").collect().height == 20_000
    assert store.summarize("access", None, None, ["user.id"], [COUNT]).height == 3
    assert store.checkpoint("access", "log") == 7
    entry = store.put("lease", "it", {"by": "us"})
    assert entry is not None
    assert store.get("lease", "it") == entry
    store.close()


def test_the_right_authority_and_key(sites: Sites, work: Workplace) -> None:
    work.configure(sites.good.url, by_file(sites.authority), BY_KEY)
    assert work.tocsin("store", "status")[0] == 1
    assert work.tocsin("store", "setup")[0] == 0
    code, out, err = work.tocsin("store", "status")
    assert (code, err) == (0, "")
    assert out.count("current") >= 10
    works(work.open())


@pytest.mark.parametrize("pin", ["authority", "server"])
def test_the_right_fingerprint(sites: Sites, work: Workplace, pin: str) -> None:
    pinned_file = sites.authority.certificate if pin == "authority" else sites.good.certificate
    work.configure(sites.good.url, by_fingerprint(pinned_file), BY_KEY)
    code, _, err = work.tocsin("store", "setup")
    assert (code, err) == (0, "")
    works(work.open())


def test_a_pin_trusts_one_certificate_and_no_public_authority(sites: Sites) -> None:
    fingerprint = by_fingerprint(sites.authority.certificate).partition(" ")[2]
    store = ElasticStore.open(sites.good.url, prepare=False, ca_fingerprint=fingerprint, api_key=KEY)
    assert store.status()
    (node,) = store._client.transport.node_pool.all()
    context: ssl.SSLContext = node.__dict__["pool"].conn_kw["ssl_context"]
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    store.close()


@pytest.mark.parametrize("command", ["status", "setup"])
def test_a_foreign_authority(sites: Sites, work: Workplace, command: str) -> None:
    work.configure(sites.good.url, by_file(sites.foreign), BY_KEY)
    line = work.fails("store", command)
    assert "certificate verify failed" in line
    assert "check store.hosts, and store.ca_certs or store.ca_fingerprint" in line
    (work.folder / "access.ndjson").write_text(
        '{"@timestamp": "2026-03-02T09:00:00Z", "user": {"id": "ana"}}\n'
    )
    assert "certificate verify failed" in work.fails("collect", "ndjson", "access.ndjson")


def test_without_an_authority_a_private_one_is_not_believed(sites: Sites, work: Workplace) -> None:
    work.configure(sites.good.url, BY_KEY)
    assert "certificate verify failed" in work.fails("store", "status")


def test_a_certificate_of_another_server(sites: Sites, work: Workplace) -> None:
    work.configure(sites.misnamed.url, by_file(sites.authority), BY_KEY)
    assert "hostname '127.0.0.1' doesn't match '127.0.0.9'" in work.fails("store", "status")
    work.configure(sites.misnamed.url, by_fingerprint(sites.misnamed.certificate), BY_KEY)
    assert "IP address mismatch" in work.fails("store", "status")


def test_an_expired_certificate(sites: Sites, work: Workplace) -> None:
    work.configure(sites.expired.url, by_file(sites.authority), BY_KEY)
    assert "certificate has expired" in work.fails("store", "status")
    work.configure(sites.expired.url, by_fingerprint(sites.expired.certificate), BY_KEY)
    assert "certificate has expired" in work.fails("store", "status")


def test_an_authority_that_is_no_certificate(sites: Sites, work: Workplace) -> None:
    work.configure(sites.good.url, "ca_certs: ca.pem", BY_KEY)
    file = work.folder.joinpath("ca.pem")
    for why in ("No such file or directory", "it contains no certificate in PEM format"):
        line = work.fails("store", "status", code=2)
        assert line == f"error: tocsin.yaml:6: cannot read a certificate from ca.pem: {why} (in store)"
        file.write_text("no certificate")


def test_another_fingerprint(sites: Sites, work: Workplace) -> None:
    work.configure(sites.good.url, by_fingerprint(sites.foreign.certificate), BY_KEY)
    line = work.fails("store", "status")
    assert "has the fingerprint of store.ca_fingerprint" in line
    assert "openssl x509" in line
    work.configure(f"https://127.0.0.1:{free_port()}", by_fingerprint(sites.authority.certificate), BY_KEY)
    assert "Connection refused" in work.fails("store", "status")


def test_a_forged_certificate_that_shows_the_pinned_one(sites: Sites, work: Workplace) -> None:
    """It names the authority as its issuer and sends the authority's own certificate after itself.

    The client's `ssl_assert_fingerprint` takes it: the chain that it looks through was built, not verified.
    """
    fingerprint = by_fingerprint(sites.authority.certificate)
    assert pinned([sites.forged.url], fingerprint.partition(" ")[2])
    work.configure(sites.forged.url, fingerprint, BY_KEY)
    assert "certificate verify failed" in work.fails("store", "status")
    log = sites.authority.folder.parent / "access.log"
    before = log.read_text()
    with pytest.raises(StoreError, match="certificate verify failed"):
        work.open()
    assert log.read_text() == before  # no request, so no key, was sent


@pytest.mark.parametrize("command", ["status", "setup"])
def test_a_wrong_key(sites: Sites, work: Workplace, command: str) -> None:
    work.configure(sites.good.url, by_file(sites.authority), BY_KEY)
    line = work.fails("store", command, key=WRONG)
    assert "unable to authenticate" in line
    assert "check that store.api_key names the `encoded` key" in line


def test_a_page_of_a_proxy_is_no_message(sites: Sites, work: Workplace) -> None:
    work.configure(f"http://127.0.0.1:{sites.good.port}", BY_KEY)  # nginx: a plain request to a TLS port
    line = work.fails("store", "status")
    assert line == "error: Elasticsearch cannot read its templates: the response was HTTP status 400"


def test_no_key(sites: Sites, work: Workplace) -> None:
    path = work.configure(sites.good.url, by_file(sites.authority))
    assert "check that store.api_key names" in work.fails("store", "status")
    path = work.configure(sites.good.url, by_file(sites.authority), BY_KEY)
    line = work.fails("store", "status", key=None, code=2)
    assert line == (
        f"error: {path.name}:7: environment variable {VARIABLE} is not set or is empty; set it to the secret, or"
        " name another (in store)"
    )


@pytest.mark.parametrize(
    "key", ["tocsin-id:a-secret-of-tests", f"{KEY}\n{KEY}", f"{KEY} ", "a-secret-of-tests–"]
)
def test_a_key_that_cannot_be_one(sites: Sites, work: Workplace, key: str) -> None:
    work.configure(sites.good.url, by_file(sites.authority), BY_KEY)
    line = work.fails("store", "status", key=key, code=2)
    assert "tocsin.yaml:7: the API key must be base64 of id:key" in line


@pytest.mark.parametrize(
    "url",
    [
        "http://elastic-1:9200",
        "http://10.0.0.7:9200",
        "HTTP://elastic-1:9200",
        "http://127.0.0.1@elastic-1:9200",
    ],
)
def test_a_key_does_not_go_in_the_clear(work: Workplace, url: str) -> None:
    path = work.configure(url, BY_KEY)
    with pytest.raises(ConfigError, match=f"{path}:5: the API key would be sent unencrypted"):
        load(path)


@pytest.mark.parametrize(
    "url", ["http://localhost:9200", "http://127.0.0.1:9200", "'http://[::1]:9200'", "HTTPS://elastic-1:9200"]
)
def test_on_this_machine_it_may(work: Workplace, url: str) -> None:
    assert load(work.configure(url, BY_KEY)).store.hosts == [url.strip("'")]
