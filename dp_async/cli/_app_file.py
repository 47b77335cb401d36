"""The file of ``sync --apps``: which apps there are, and the settings of each. It sends nothing.

Workers on other machines read it too, so it needs no library but the package itself.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias, TypeGuard, cast

from dp_async import ConfigError, Settings

from ._text_files import accounts_in, secret_in, wrong_accounts

Table: TypeAlias = dict[str, Any]

#: The keys that are settings, with the same names.
SETTINGS = ("base_url", "rate", "auth_template", "timestamp_unit")
#: Keys of which an app has one.
ACCOUNTS = ("accounts", "accounts_file")
SECRETS = ("secret_file", "secret_env")
KEYS = ("app_id", *ACCOUNTS, *SECRETS, *SETTINGS)
#: Stands for a secret that is on the workers alone.
UNSET = "unset"


class AppFile:
    """The apps in the TOML file at *path*; *defaults*: settings of the apps that give none.

    A function from an app's id to its settings, for ``dp_async.ray.sync``. It is pickled as the
    path and the defaults; the file, and those of the secrets, are read where it is called.
    """

    def __init__(self, path: Path, defaults: Mapping[str, Any]) -> None:
        self.path = path.absolute()
        self._shown = str(path)
        self._defaults = dict(defaults)
        self._lock = Lock()
        self._tables: dict[str, Table] | None = None

    def __reduce__(self) -> tuple[type[AppFile], tuple[Path, dict[str, Any]]]:
        return AppFile, (self.path, self._defaults)

    def __call__(self, app_id: str) -> Settings:
        """The settings of an app, with its secret. Raises ConfigError."""
        with self._lock:
            if self._tables is None:
                self._tables = {str(table.get("app_id")): table for table in self.tables()}
        table = self._tables.get(app_id)
        if table is None:
            raise ConfigError(f"{self._shown}: the app {app_id} is not in it")
        with self._named(app_id):
            return self._settings(table, self._secret(table))

    def tables(self) -> list[Table]:
        """The tables of all apps. Raises ConfigError if the file has no such tables."""
        try:
            found: Table = tomllib.loads(self.path.read_text("utf-8-sig"))
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            problem = "cannot be read: it is not UTF-8 text"
        except tomllib.TOMLDecodeError as error:
            problem = f"is no TOML: {error}"
        else:
            tables = found.pop("app", [])
            if found:
                problem = f"unknown key {_shown(next(iter(found)))}; use [[app]] tables alone"
            elif not _are_tables(tables) or not tables:
                problem = "has no app; give each an [[app]] table"
            else:
                return tables
        raise ConfigError(f"{self._shown}: {problem}")

    def accounts(self, *, with_secrets: bool) -> tuple[dict[str, list[str]], list[str]]:
        """The accounts of each app, and what is wrong with the file, one line for each problem.

        *with_secrets*: whether the secrets have to be on this machine. Raises ConfigError.
        """
        found: dict[str, list[str]] = {}
        problems: list[str] = []
        for place, table in enumerate(self.tables(), start=1):
            app_id = table.get("app_id")
            try:
                if not isinstance(app_id, str) or not app_id:
                    raise ConfigError(
                        f"{self._shown}: [[app]] number {place} needs an app_id, a text"
                    )
                with self._named(app_id):
                    if app_id in found:
                        raise ConfigError(
                            "it is given twice; give each app once, with all accounts"
                        )
                    found[app_id] = []
                    found[app_id] = self._checked(table, with_secrets)
            except ConfigError as error:
                problems.append(str(error))
        return found, problems

    def _checked(self, table: Table, with_secrets: bool) -> list[str]:
        for key in table:
            if key not in KEYS:
                raise ConfigError(f"unknown key {_shown(key)}; known are {', '.join(KEYS)}")
        self._one_of(table, SECRETS)
        settings = self._settings(table, self._secret(table) if with_secrets else UNSET)
        key, value = self._one_of(table, ACCOUNTS)
        if key == "accounts_file":
            return accounts_in(self._path(key, value), settings, f"{key} {value}")
        if not _are_texts(value):
            raise ConfigError("accounts must be a list of texts, in quotes")
        wrong = [*wrong_accounts(value, settings, "account")]
        if value and not wrong:
            return value
        problem = "; ".join(wrong) or "the list is empty; give at least one account"
        raise ConfigError(f"accounts: {problem}")

    def _settings(self, table: Table, secret: str) -> Settings:
        own = {key: table[key] for key in SETTINGS if key in table}
        given: Table = {**self._defaults, **own, "app_id": table["app_id"], "app_secret": secret}
        if not given.get("base_url"):
            raise ConfigError("base_url is missing: give it here, as --base-url or DP_BASE_URL")
        return Settings(**given)

    def _secret(self, table: Table) -> str:
        key, value = self._one_of(table, SECRETS)
        if key == "secret_file":
            return secret_in(self._path(key, value), f"{key} {value}")
        secret = os.environ.get(str(value), "")
        if not secret:
            # A secret may stand there by mistake.
            known = re.fullmatch("[A-Z][A-Z0-9_]{0,39}", str(value))
            name = f"variable {value}" if known else "variable that it names"
            raise ConfigError(f"secret_env: the {name} is not set")
        return secret

    def _path(self, key: str, value: object) -> Path:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key} must be the name of a file")
        return self.path.parent / Path(value).expanduser()

    def _one_of(self, table: Table, keys: Sequence[str]) -> tuple[str, object]:
        given = [key for key in keys if key in table]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(keys)} exclude each other: keep one of them")
        if not given:
            raise ConfigError(f"it has no {keys[0]}: give {' or '.join(keys)}")
        return given[0], table[given[0]]

    @contextmanager
    def _named(self, app_id: str) -> Generator[None]:
        """Names file and app in a ConfigError of the block."""
        try:
            yield
        except ConfigError as error:
            problem = str(error)
        else:
            return
        raise ConfigError(f"{self._shown}: app {app_id}: {problem}")


def _shown(value: object) -> str:
    """A key as it may be shown."""
    return f"{value!r:.40}"


def _are_tables(value: object) -> TypeGuard[list[Table]]:
    return isinstance(value, list) and all(
        isinstance(one, dict) for one in cast("list[object]", value)
    )


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(
        isinstance(one, str) for one in cast("list[object]", value)
    )
