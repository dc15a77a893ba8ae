"""nginx on this machine, with the configuration that deploy/nginx.conf has for replicas."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
_MAIN = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    log_format sent '$uniconv_conversation|$upstream_addr|$status';
    access_log {folder}/access.log sent;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/replicas.conf;
}}
"""


@contextmanager
def nginx(replicas: Sequence[str], *, sticky: bool = True) -> Iterator[tuple[str, Path]]:
    """The address before ``replicas`` (URLs), and the log of who got what.

    A line of the log is conversation|replicas that were tried|status. Without
    ``sticky`` the configuration loses its hash, so that replicas take turns.
    """
    assert NGINX is not None
    text = CONFIGURATION.read_text("utf-8")
    servers = [
        f"server {url.removeprefix('http://')} max_fails=1 fail_timeout=5s;" for url in replicas
    ]
    text = re.sub(r"(    server uniconv-\d.*\n)+", "    " + "\n    ".join(servers) + "\n", text)
    if not sticky:
        text = re.sub(r"    hash .*\n", "", text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the workers may be another user's
        (folder / "replicas.conf").write_text(text)
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
        errors = ["-e", str(folder / "error.log")]
        process = subprocess.Popen([NGINX, *errors, "-p", name, "-c", str(folder / "nginx.conf")])
        try:
            _wait(port, process, folder / "error.log")
            yield f"http://127.0.0.1:{port}", folder / "access.log"
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    raise SystemExit(f"nginx did not start: {log.read_text()}")
