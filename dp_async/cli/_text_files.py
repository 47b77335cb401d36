"""What a user keeps in text files: a secret, and accounts. Reads them, and knows no flag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dp_async import ConfigError, Settings


def secret_in(file: Path, name: str) -> str:
    """The secret in *file*, without its final line break; *name*: that of the file in errors.

    Raises ConfigError.
    """
    try:
        secret = file.read_text("utf-8-sig").removesuffix("\n")  # text mode reads \r\n as \n
        if secret == secret.strip():
            return secret
        raise ConfigError(f"{name}: there are blanks or line breaks around the secret; remove them")
    except OSError as error:
        problem = error.strerror
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    raise ConfigError(f"{name} cannot be read: {problem}")


def accounts_in(file: Path, settings: Settings, name: str = "--accounts") -> list[str]:
    """The accounts in *file*, one per line. A ConfigError names the lines that are wrong."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"{name} cannot be read: it is not UTF-8 text"
    else:
        wrong = list(wrong_accounts(lines, settings, "line"))
        if lines and not wrong:
            return lines
        problem = f"{name}: {'; '.join(wrong) or 'the file is empty'}"
        problem += "; use one account per line, each once, and nothing else"
    raise ConfigError(problem)


def wrong_accounts(texts: Sequence[str], settings: Settings, place: str) -> Iterator[str]:
    """What is wrong with *texts* as accounts; *place* is what one of them is called."""
    for number, text in enumerate(texts, start=1):
        first = texts.index(text) + 1
        if text != text.strip() or not text:
            yield f"{place} {number} is blank or has blanks around it"
        elif first < number:
            yield f"{place} {number} repeats {place} {first}"
        else:
            try:
                settings.with_account(text)
            except ConfigError as error:
                yield f"{place} {number}: {error}"
