"""A worker's HTTP endpoint for monitoring."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request

import pytest

from tocsin.errors import StoreError
from tocsin.worker.endpoint import Answer, endpoint, plain


def _has_six() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_answers_in_both_families_of_addresses(host: str) -> None:
    if host == "[::1]" and not _has_six():
        pytest.skip("this machine has no IPv6 on loopback")
    with endpoint(f"{host}:0", {"/well": lambda: plain(""), "/ill": lambda: plain("no store")}) as url:
        assert urllib.request.urlopen(f"{url}/well", timeout=5).read() == b"ok\n"
        for path, status in (("/ill", 503), ("/other", 404)):
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(url + path, timeout=5)
            assert raised.value.code == status
            raised.value.close()


def test_an_address_that_cannot_be_listened_on_is_named() -> None:
    with (
        pytest.raises(StoreError, match=r"monitoring.listen: cannot listen on 203.0.113.1:1"),
        endpoint("203.0.113.1:1", {}),
    ):
        pass


def test_whoever_does_not_wait_for_the_answer_makes_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    asked, left = threading.Event(), threading.Event()

    def slow() -> Answer:
        asked.set()
        assert left.wait(5)
        return 200, "text/plain", b"x" * 10_000_000

    with endpoint("127.0.0.1:0", {"/slow": slow}) as url:
        port = int(url.rpartition(":")[2])
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert asked.wait(5)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        one.close()  # with a reset
        left.set()
        assert urllib.request.urlopen(url.replace("/slow", "") + "/slow", timeout=5).status == 200
    assert "Traceback" not in capsys.readouterr().err
