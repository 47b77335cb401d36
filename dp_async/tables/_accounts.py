"""The accounts that a sync is given, checked. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from .. import ConfigError, Settings


def account_names(settings: Settings, accounts: Iterable[str] | None) -> list[str]:
    """*accounts*, each once, in their order; None: that of *settings*, "" for the main account.

    Raises ConfigError for a single text, for none at all, and for an account that cannot be sent.
    """
    if accounts is None:
        return [settings.account or ""]
    given = cast("object", accounts)  # whatever its type says
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigError("accounts needs a list of accounts, not a single one")
    names = list(dict.fromkeys(accounts))
    for place, name in enumerate(names):
        if not _is_text(name):
            raise ConfigError(f"accounts[{place}] must be an account, and is blank or no text")
        settings.with_account(name)
    if not names:
        raise ConfigError("accounts is empty: give at least one, or None for the main account")
    return names


def _is_text(given: object) -> bool:
    return isinstance(given, str) and bool(given.strip())
