"""The flags of the server and the account, and the settings made of them and the secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from dp_async import ConfigError, Settings

from ._flags import described, switch
from ._text_files import secret_in

#: For the defaults that the help shows.
SETTINGS = Settings(base_url="https://unset", app_id="unset", app_secret="unset")
SERVER = Group("Server and account", sort_key=1)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """The server and the account. The secret is never a flag: other users can see flags."""

    base_url: Annotated[
        str | None, described(SERVER, 'base URL of the API, like "https://host"', "DP_BASE_URL")
    ] = None
    app_id: Annotated[str | None, described(SERVER, "app id from the console", "DP_APP_ID")] = None
    secret_file: Annotated[
        Path | None, described(SERVER, "file that holds the secret, instead of DP_APP_SECRET")
    ] = None
    account: Annotated[
        str | None, described(SERVER, "phone number of the sub-account", "DP_ACCOUNT")
    ] = None
    auth_template: Annotated[
        str, described(SERVER, "template of the text that is signed with md5", "DP_AUTH_TEMPLATE")
    ] = SETTINGS.auth_template
    timestamp_unit: Annotated[
        Literal["ms", "s"], described(SERVER, "unit of the signed timestamp", "DP_TIMESTAMP_UNIT")
    ] = SETTINGS.timestamp_unit
    timeout: Annotated[float, described(SERVER, "timeout of an attempt, in seconds")] = (
        SETTINGS.timeout
    )
    max_in_flight: Annotated[int, described(SERVER, "maximum requests in flight")] = (
        SETTINGS.max_in_flight
    )
    rate: Annotated[float | None, described(SERVER, "maximum requests per second")] = SETTINGS.rate
    allow_http: Annotated[
        bool, switch(SERVER, "allow http:// to a host other than this machine")
    ] = SETTINGS.allow_http

    def defaults(self) -> dict[str, Any]:
        """The settings that apps may share, by name; ``base_url`` may be None."""
        return {
            "base_url": self.base_url,
            "auth_template": self.auth_template or SETTINGS.auth_template,
            "timestamp_unit": self.timestamp_unit,
            "timeout": self.timeout,
            "max_in_flight": self.max_in_flight,
            "rate": self.rate,
            "allow_http": self.allow_http,
        }

    def settings(self) -> Settings:
        """Settings of these flags and the secret. A ConfigError names the flag and the variable."""
        given: dict[str, Any] = self.defaults() | {
            "base_url": required(self.base_url, "DP_BASE_URL", "--base-url"),
            "app_id": required(self.app_id, "DP_APP_ID", "--app-id"),
            "app_secret": required(_secret(self.secret_file), "DP_APP_SECRET", "--secret-file"),
            "account": self.account or None,
        }
        return Settings(**given)


def required(value: str | None, variable: str, flag: str) -> str:
    if not value:
        raise ConfigError(f"{variable} is not set: set it in the environment, or use {flag}")
    return value


def _secret(file: Path | None) -> str | None:
    """The secret from *file*, without its final line break, or from the environment."""
    if file is None:
        return os.environ.get("DP_APP_SECRET")
    return secret_in(file, "--secret-file")


NO_SERVER_FLAGS = ServerFlags()
