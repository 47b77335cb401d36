"""nginx and HAProxy in front of a backend, each with its own ways to limit requests.

They refuse as real servers do: no code of this project decides what is let in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.support.programs import find, skip_without, spare_port, started, unprivileged

Program = Literal["nginx", "haproxy"]

#: The names of the programs, and the packages of Debian that have them.
SERVERS: Mapping[Program, tuple[str, str]] = {
    "nginx": ("nginx", "nginx-light"),
    "haproxy": ("HAProxy", "haproxy"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A way to limit: *rules* in the language of the *program*.

    *rate*: about how many requests a second it lets in, or None if it limits the number at once.
    """

    program: Program
    rules: str
    rate: float | None


_TRACK = """
  stick-table type ip size 1k expire 1m store http_req_rate(1s)
  http-request track-sc0 src
  default_backend direct
  http-request """
_OVER = " if { sc_http_req_rate(0) gt 50 }"

LIMITS: Mapping[str, Limit] = {
    "nginx: 50 a second, burst 0, 429": Limit(
        "nginx", "limit_req zone=requests; limit_req_status 429;", 50
    ),
    "nginx: 50 a second, burst 0, 503": Limit("nginx", "limit_req zone=requests;", 50),
    "nginx: 50 a second, burst 20, 429": Limit(
        "nginx", "limit_req zone=requests burst=20 nodelay; limit_req_status 429;", 50
    ),
    "nginx: 50 a second, burst 20, 503": Limit(
        "nginx", "limit_req zone=requests burst=20 nodelay;", 50
    ),
    "nginx: 8 at once, 429": Limit(
        "nginx", "limit_conn connections 8; limit_conn_status 429;", None
    ),
    "nginx: 8 at once, 503": Limit("nginx", "limit_conn connections 8;", None),
    "HAProxy: 50 in a second, 429": Limit("haproxy", f"{_TRACK}deny deny_status 429{_OVER}", 50),
    "HAProxy: 50 in a second, 429, Retry-After": Limit(
        "haproxy", f"{_TRACK}return status 429 hdr Retry-After 1{_OVER}", 50
    ),
    "HAProxy: 8 at once, queue": Limit("haproxy", "default_backend queue", None),
    "HAProxy: 8 at once, queue of 100 ms": Limit("haproxy", "default_backend short_queue", None),
}

_NGINX = """\
daemon off;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  underscores_in_headers on;
  limit_req_zone $server_port zone=requests:1m rate=50r/s;
  limit_conn_zone $server_port zone=connections:1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{servers}}}
"""

_NGINX_SERVER = """\
  server {{
    listen 127.0.0.1:{port};
    location / {{ {rules} proxy_pass http://127.0.0.1:{backend}; }}
  }}
"""

_HAPROXY = """\
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
backend direct
  server one 127.0.0.1:{backend}
backend queue
  timeout queue 60s
  server one 127.0.0.1:{backend} maxconn 8
backend short_queue
  timeout queue 100ms
  server one 127.0.0.1:{backend} maxconn 8
{frontends}"""

_HAPROXY_FRONTEND = """\
frontend port{port}
  bind 127.0.0.1:{port}
  {rules}
"""


@contextmanager
def running(program: Program, backend: int) -> Generator[dict[str, str]]:
    """Starts *program* in front of the port *backend*: the address of each of its limits."""
    chosen = {name: limit for name, limit in LIMITS.items() if limit.program == program}
    ports = [spare_port() for _ in chosen]
    with tempfile.TemporaryDirectory(prefix="dp-async-tests-") as name:
        folder = Path(name)
        part = _NGINX_SERVER if program == "nginx" else _HAPROXY_FRONTEND
        parts = "".join(
            part.format(port=port, backend=backend, rules=limit.rules)
            for limit, port in zip(chosen.values(), ports, strict=True)
        )
        whole = _NGINX if program == "nginx" else _HAPROXY
        file = folder / "config"
        file.write_text(
            whole.format(folder=folder, backend=backend, servers=parts, frontends=parts)
        )
        command = [*unprivileged(folder, file), f"{find(program)}"]
        command += ["-e", f"{folder}/errors", "-c", f"{file}"]
        if program == "haproxy":
            command[-4:] = ["-db", "-f", f"{file}"]
        with started(command, ports, folder / "log"):
            yield {
                name: f"http://127.0.0.1:{port}" for name, port in zip(chosen, ports, strict=True)
            }


@dataclass(frozen=True, slots=True)
class Proxies:
    """Running proxies: the *address* of each limit; they pass on to the port *backend*."""

    backend: int
    address: Mapping[str, str]


@pytest.fixture(scope="module")
def proxies() -> Iterator[Proxies]:
    """nginx and HAProxy, with all limits, in front of a free port."""
    for program, (server, package) in SERVERS.items():
        skip_without(find(program), server, package)
    backend = spare_port()
    with ExitStack() as stack:
        addresses: dict[str, str] = {}
        for program in SERVERS:
            addresses |= stack.enter_context(running(program, backend))
        yield Proxies(backend, addresses)
