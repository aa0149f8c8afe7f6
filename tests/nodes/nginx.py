"""A real nginx with the configuration of deploy/nginx, before any upstream."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "nginx"
PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin")

_MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/tocsin-http.conf;
    upstream mlflow {{ server 127.0.0.1:{upstream}; }}
    server {{
        listen 127.0.0.1:{port};
        set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
        access_log {folder}/access.log tocsin;
        include {folder}/tocsin-mlflow.conf;
        location / {{ proxy_pass http://mlflow; proxy_set_header Host $host; client_max_body_size 0; }}
    }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[tuple[int, Path]]:
    """The port and the access log of an nginx before the upstream's port. X-Forwarded-For is believed."""
    assert PROGRAM is not None
    log, port = folder / "access.log", free_port()
    for file in DEPLOY.iterdir():
        text = file.read_text(encoding="utf-8").replace("/var/log/nginx/mlflow.access.log", str(log))
        (folder / file.name).write_text(text, encoding="utf-8")
    main = folder / "nginx.conf"
    main.write_text(_MAIN.format(folder=folder, upstream=upstream, port=port), encoding="utf-8")
    process = subprocess.Popen([PROGRAM, "-p", str(folder), "-c", str(main)])
    try:
        _wait(port, process)
        yield port, log
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nginx does not listen; see its error.log")
