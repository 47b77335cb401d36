"""TLS on this machine: an authority made for the run, which every process started in it trusts."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from benchmarks.apart import environment


@contextmanager
def trusted(host: str) -> Generator[bytes]:
    """The key and the certificates of *host*, as PEM.

    Libraries are told by the variables that they read by themselves: what they do with the
    authorities of a system, or with a bundle that they bring, is what they do with this one.
    """
    import trustme  # what asks nothing about TLS shall not need it

    authority = trustme.CA()
    chain: bytes = authority.issue_cert(host).private_key_and_cert_chain_pem.bytes()
    with (
        authority.cert_pem.tempfile() as path,
        environment(SSL_CERT_FILE=path, REQUESTS_CA_BUNDLE=path),
    ):
        yield chain


def server_context(chain: bytes) -> ssl.SSLContext:
    """What a server speaks TLS with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(chain)
        file.flush()
        context.load_cert_chain(file.name)
    return context
