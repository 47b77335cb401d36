"""Each failure says what it is and what to do, and whether it can pass by itself."""

from __future__ import annotations

import pytest

from dp_async._call import hints

PAGES: list[tuple[bytes | None, str]] = [
    (b"<h1>400</h1>The plain HTTP request was sent to HTTPS port<hr>nginx", "https://"),
    (b"You're speaking plain HTTP to an SSL-enabled server port.", "https://"),
    (b"Client sent an HTTP request to an HTTPS server.\n", "https://"),
    (b"<center>No required SSL certificate was sent</center>", "load_cert_chain"),
    (b"<center>The SSL certificate error</center>", "load_cert_chain"),
    (b"", "the scheme (http or https), the host and the port of base_url"),
    (b" " * 4096 + b"plain HTTP", "the scheme (http or https)"),
]


def test_a_400_of_a_gateway_has_a_hint() -> None:
    for page, words in PAGES:
        assert words in hints.hint(400, page)
    assert hints.hint(400, None) == ""  # the API's own


def test_a_status_has_its_hint() -> None:
    for status, words in [
        (300, "final address"),
        (399, "final address"),
        (401, "auth_template"),
        (403, "account"),
        (404, "path prefix"),
        (407, "http://user:password@host:port"),
        (429, "set rate"),
    ]:
        assert words in hints.hint(status, b"plain HTTP")
        assert hints.hint(status, None) == hints.hint(status, b"")
    for status in (200, 299, 402, 500):
        assert hints.hint(status, b"") == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "not valid yet: check this machine's clock"),
        (10, "has expired"),
        (62, "for another host: check base_url"),
        (64, "for another address: check base_url"),
        (18, "of a CA unknown to this machine; for your own CA pass a session"),
        (21, "of a CA unknown to this machine; for your own CA pass a session"),
        (0, "was not accepted; for your own CA pass a session"),
    ],
)
def test_a_certificate_says_why_it_is_not_accepted(code: int, words: str) -> None:
    text = hints.certificate("api.example.com", code)
    assert text.startswith("the certificate of api.example.com ")
    assert words in text
    assert ("own CA" in text) is (code in (0, 18, 21))


@pytest.mark.parametrize(
    ("reason", "words", "lasting"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "does not speak TLS", True),
        ("[SSL: RECORD_LAYER_FAILURE] record layer failure", "does not speak TLS", True),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]", "client certificate (mTLS)", True),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]", "whether the server wants", False),
        ("", "the TLS handshake failed; check base_url", False),
    ],
)
def test_a_tls_failure_says_what_it_is(reason: str, words: str, lasting: bool) -> None:
    text, lasts = hints.tls(reason)
    assert words in text
    assert lasts is lasting


def test_no_connection_names_base_url_or_the_proxy() -> None:
    assert hints.no_connection("h:1 (no)", of_proxy=False) == (
        "no connection to h:1 (no); check base_url"
    )
    assert hints.no_connection("h:1 (no)", of_proxy=True) == (
        "no connection to the proxy h:1 (no); check the proxy of the session, or HTTP_PROXY and "
        "HTTPS_PROXY"
    )


@pytest.mark.parametrize(
    ("status", "words", "lasting"),
    [
        (407, "(407). A proxy wants credentials", True),
        (403, "(403); check the proxy", True),
        (400, "(400); check the proxy", True),
        (499, "(499); check the proxy", True),
        (408, "(408); check the proxy", False),
        (429, "(429); check the proxy", False),
        (500, "(500); check the proxy", False),
        (399, "(399); check the proxy", False),
    ],
)
def test_a_refusal_of_the_proxy_lasts_unless_it_is_of_the_moment(
    status: int, words: str, lasting: bool
) -> None:
    text, lasts = hints.proxy(status)
    assert words in text
    assert lasts is lasting


@pytest.mark.parametrize(
    ("message", "words", "lasting"),
    [
        ("Got more than 8190 bytes when reading: b'aaa...'", "max_field_size", False),
        ("Too many headers received", "max_headers", False),
        ("Expected HTTP/:\n\n  b'\\x15\\x03\\x03'", "expects TLS", True),
        ("Bad status line", "not valid HTTP", False),
        ("Can not decode content-encoding: brotli (br). Please install `Brotli`", "install", True),
    ],
)
def test_an_answer_that_is_no_http_says_why(message: str, words: str, lasting: bool) -> None:
    text, lasts = hints.not_http(message)
    assert words in text
    assert "aaa" not in text
    assert lasts is lasting
