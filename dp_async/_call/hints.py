"""What a failure means and what to do, for the texts of errors.

Pure, and without HTTP library. Nothing of a request or an answer is repeated in these texts. Where
a function also returns a bool, it is True for a failure that cannot pass by itself.
"""

from __future__ import annotations

import re

_HINTS = {
    301: "Redirects are not followed, because they would forward the signed headers: "
    "set base_url to the final address.",
    400: "The answer is not the API's JSON, so that a gateway or a proxy sent it: check the scheme "
    "(http or https), the host and the port of base_url.",
    401: "Check app_id and app_secret, then the signature: the settings auth_template and "
    "timestamp_unit are assumptions, because the platform does not publish how it signs. "
    "Check this machine's clock. A proxy such as nginx drops header names with underscores "
    "(req_from, app_id) unless underscores_in_headers is on.",
    403: "The app or the account has no permission: check app_id and account.",
    404: "Check base_url and its path prefix.",
    407: "A proxy wants credentials: write them into its URL, http://user:password@host:port.",
    429: "Lower max_in_flight, or set rate.",
}

_CLIENT_CERTIFICATE = (
    "The server wants a client certificate (mTLS), or rejects the one it got: pass a session with "
    "TCPConnector(ssl=context), after context.load_cert_chain(...)."
)
#: Words of nginx, Apache and Go servers on their page for a 400, and what they mean.
_PAGES = {
    re.compile(rb"plain HTTP|HTTP request to an HTTPS", re.IGNORECASE): (
        "The port expects TLS: write base_url with https://."
    ),
    re.compile(rb"SSL certificate", re.IGNORECASE): _CLIENT_CERTIFICATE,
}
#: Bytes of a page that are searched.
_SEARCHED = 4096


def hint(status: int, page: bytes | None) -> str:
    """The hint for *status*, "" if there is none; *page*: a body that is not the API's JSON."""
    if status == 400:
        if page is None:
            return ""
        for words, meaning in _PAGES.items():
            if words.search(page, 0, _SEARCHED):
                return meaning
    return _HINTS.get(301 if 300 <= status < 400 else status, "")


#: OpenSSL's X509_V_ERR codes.
_CERTIFICATES = {
    9: "is not valid yet: check this machine's clock",
    10: "has expired: the server has to renew it, unless this machine's clock is wrong",
    62: "is for another host: check base_url",
    64: "is for another address: check base_url",
}
_UNKNOWN_CA = {18, 19, 20, 21}
_PROXY = "check the proxy of the session, or HTTP_PROXY and HTTPS_PROXY"


def certificate(host: str, code: int) -> str:
    """Why a certificate was not accepted, by OpenSSL's *code*."""
    what = f"the certificate of {host}"
    if code in _CERTIFICATES:
        return f"{what} {_CERTIFICATES[code]}"
    why = "is of a CA unknown to this machine" if code in _UNKNOWN_CA else "was not accepted"
    return f"{what} {why}; for your own CA pass a session with TCPConnector(ssl=context)"


def tls(reason: str) -> tuple[str, bool]:
    """Why there is no TLS connection, by OpenSSL's *reason*."""
    if "CERTIFICATE_REQUIRED" in reason:
        return f"no TLS connection. {_CLIENT_CERTIFICATE}", True
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return (
            "no TLS connection: the port does not speak TLS; check the port of base_url, and "
            "whether base_url must begin with http://"
        ), True
    return (
        "the TLS handshake failed; check base_url and its port, and whether the server wants a "
        "client certificate"
    ), False


def no_connection(where: str, of_proxy: bool) -> str:
    """The text for a connection that was not made to *where*: the server or a proxy."""
    if of_proxy:
        return f"no connection to the proxy {where}; {_PROXY}"
    return f"no connection to {where}; check base_url"


def proxy(status: int) -> tuple[str, bool]:
    """Why a proxy refused to connect to the server, by its *status*."""
    lasting = 400 <= status < 500 and status not in (408, 429)
    if status == 407:
        return f"the proxy refused the connection (407). {_HINTS[407]}", lasting
    return f"the proxy refused the connection ({status}); {_PROXY}", lasting


def not_http(message: str) -> tuple[str, bool]:
    """Why an answer could not be read, by the *message* of aiohttp's parser."""
    if message.startswith(("Got more than", "Too many headers")):
        return (
            "the answer has more or longer headers than are read (one of 8,190 bytes at most); "
            "pass a session with a larger max_field_size, max_line_size or max_headers"
        ), False
    if r"b'\x15\x03" in message:  # a TLS alert
        return "the port of base_url expects TLS: write base_url with https://", True
    if message.startswith("Can not decode content-encoding"):
        return (
            "the answer is compressed in a way that was not asked for (Content-Encoding), by the "
            "server or a gateway: turn that off, or install what aiohttp reads it with (Brotli for "
            "br, backports.zstd for zstd)"
        ), True
    return "the answer was not valid HTTP; check base_url and its port", False
