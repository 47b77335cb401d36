"""TLS on this machine: a certificate authority made for one run, trusted by its processes."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from benchmarks.apart import environment


@contextmanager
def trusted(host: str) -> Generator[bytes]:
    """Yields a key and certificates for *host*, as PEM.

    Libraries learn of the authority by the environment variables that they read anyway, so that
    each loads it the way it loads a system's authorities.
    """
    import trustme  # needed by the benchmarks with TLS alone

    authority = trustme.CA()
    chain: bytes = authority.issue_cert(host).private_key_and_cert_chain_pem.bytes()
    with (
        authority.cert_pem.tempfile() as path,
        environment(SSL_CERT_FILE=path, REQUESTS_CA_BUNDLE=path),
    ):
        yield chain


def server_context(chain: bytes) -> ssl.SSLContext:
    """The TLS context of a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(chain)
        file.flush()
        context.load_cert_chain(file.name)
    return context
