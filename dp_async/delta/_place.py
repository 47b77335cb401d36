"""Where the tables are: a folder or a bucket, and what of it may be shown. Opens nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import DeltaError

from .. import ConfigError, DpError

#: Options, and variables of the environment, whose values may be shown in an error text.
_PUBLIC = ("region", "endpoint", "allow_http", "conditional", "timeout", "bucket", "virtual")
#: Variables that object stores take credentials from.
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
#: The longest text of a store that is repeated.
_LONGEST = 400


class LoadFailed(DpError):
    """The tables could not be read or written."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder or prefix *root* of the tables. *options*: of the store, which may be secrets."""

    root: str
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    def table(self, name: str) -> str:
        """The address of the table *name*."""
        return f"{self.root.rstrip('/')}/{name}"

    @contextmanager
    def errors(self, name: str) -> Generator[None]:
        """Turns an error of deltalake in the block into a LoadFailed of one line."""
        try:
            yield
        except Exception as error:
            # deltalake raises plain Exception for some errors of the libraries below it.
            known = isinstance(error, DeltaError | OSError | pa.ArrowException)
            if not known and type(error) is not Exception:
                raise
            problem = self._shown(str(error))
        else:
            return
        raise LoadFailed(f"the table {self.table(name)}: {problem}") from None

    def _shown(self, text: str) -> str:
        """*text* on one line, without secrets."""
        hidden = [
            value
            for name, value in self.options.items()
            if not any(part in name.lower() for part in _PUBLIC)
        ]
        hidden += [os.environ.get(name, "") for name in _VARIABLES]
        line = _one_line(text)
        for value in sorted(filter(None, hidden), key=len, reverse=True):
            line = line.replace(value, "…")
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _one_line(text: str) -> str:
    """An error text of deltalake without colours, stack and XML; of that, the code and message."""
    said = re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", text, re.DOTALL)
    text = re.split(r"<\?xml|<Error>|\n\s*0: ", text)[0]
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"//[^/@\s]*@", "//…@", text)  # an endpoint may have credentials
    parts = [*re.split(r"↳|\n", text), *(said.groups() if said else ())]
    return ": ".join(" ".join(part.split()) for part in parts if part.strip())


def place_of(uri: str | os.PathLike[str], options: Mapping[str, str] | None) -> Place:
    """The place that *uri* names. Raises ConfigError; opens nothing."""
    try:
        options = dict(options or {})
        texts: set[type] = {type(text) for pair in options.items() for text in pair}
    except (TypeError, ValueError):
        options, texts = {}, {type(options)}
    if not texts <= {str}:
        raise ConfigError("storage_options must be a dict of texts")
    try:
        text = os.fspath(uri)
    except TypeError:
        text = ""
    if type(text) is not str or not text.strip() or "\0" in text:
        raise ConfigError("uri must be a folder, or s3://BUCKET/PREFIX")
    scheme, separator, location = text.partition("://")
    if not separator:
        return _folder(text, options)
    if scheme != "s3":
        raise ConfigError(f"uri: {scheme[:20]}:// is not supported; use a folder or s3://BUCKET")
    bucket = location.partition("/")[0]
    if not bucket or "@" in bucket or ":" in bucket or "?" in location or "#" in location:
        raise ConfigError(
            "uri must read s3://BUCKET/PREFIX, without credentials: they come from the environment"
        )
    return Place(text.rstrip("/"), options)


def _folder(text: str, options: Mapping[str, str]) -> Place:
    folder = Path(text).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"uri: {text} is a file; give the folder that is to hold the tables")
    if (folder / "_delta_log").exists():
        raise ConfigError(
            f"uri: {text} is a Delta table itself; give the folder that is to hold the tables"
        )
    return Place(str(folder), options)
