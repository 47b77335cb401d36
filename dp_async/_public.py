"""All public names. ``dp_async`` imports this file when the first of them is used."""

import logging

from ._accounts import AccountsCrawl, AccountsFailed, crawl_accounts
from ._call.auth import Md5Signer
from ._call.observe import Attempt
from ._call.rate_limiter import InProcessRateLimiter, RateLimiter, Reservation
from ._call.stats import ClientStats
from ._call.transport import HttpTransport
from ._client import Client
from ._crawl.crawl import Crawl, Pages
from ._crawl.report import CrawlReport, IncompleteCrawl
from ._errors import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    CallError,
    ClientClosed,
    ConfigError,
    DecodeError,
    DpError,
    PaginationError,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    TransportError,
)
from ._http import Request, Response, Send, Sign
from ._listing import Listing
from ._models import Align, Message, Page, Probe, ReadStatus, SortOrder, Work, WorkStatus
from ._page.reader import BadItem
from ._plan.watermark import Watermark
from ._settings import CrawlOptions, RetryPolicy, Settings
from ._version import VERSION
from ._watch import Watch

__version__ = VERSION

__all__ = [
    "AccountsCrawl",
    "AccountsFailed",
    "Align",
    "ApiError",
    "Attempt",
    "AttemptTimeout",
    "AuthError",
    "BadItem",
    "BadRequest",
    "CallError",
    "Client",
    "ClientClosed",
    "ClientStats",
    "ConfigError",
    "Crawl",
    "CrawlOptions",
    "CrawlReport",
    "DecodeError",
    "DpError",
    "HttpTransport",
    "InProcessRateLimiter",
    "IncompleteCrawl",
    "Listing",
    "Md5Signer",
    "Message",
    "Page",
    "Pages",
    "PaginationError",
    "Probe",
    "RateLimited",
    "RateLimiter",
    "ReadStatus",
    "Request",
    "Reservation",
    "Response",
    "ResponseTooLarge",
    "RetryPolicy",
    "Send",
    "ServerError",
    "Settings",
    "Sign",
    "SortOrder",
    "TransportError",
    "Watch",
    "Watermark",
    "Work",
    "WorkStatus",
    "__version__",
    "crawl_accounts",
]

logging.getLogger("dp_async").addHandler(logging.NullHandler())
