"""``settings.toml`` in a home: settings that hold for everybody who works on that home."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rag_audio.errors import ConfigError

NAME = "settings.toml"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_home_file(
    home: Path, known: Collection[str], secret: Collection[str], paths: Collection[str]
) -> dict[str, Any]:
    """What the home's file sets, as TOML has it; nothing where there is no file.

    Args:
        known: names that it may set. secret: those that only a private file may hold.
        paths: those that name a file: a relative one is looked for in the home.

    Raises:
        ConfigError: it cannot be read, has another key, or a secret that others may read.
    """
    file = home / NAME
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            found = tomllib.loads(opened.read().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror or error}",
            hint="it must be a file that its user may read; or remove it",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = 'a line is NAME = VALUE, such as territory = "DE"'
        raise ConfigError(f"{file} is not TOML: {error}", hint=hint) from error
    for key in found:
        _check_key(file, key, known)
        if key in secret and os.name != "nt" and mode & _OTHERS:
            raise ConfigError(
                f"{file}: {key} is a secret, and others may read the file",
                hint=f"chmod 600 {file}",
            )
    return {key: _in_home(home, value) if key in paths else value for key, value in found.items()}


def _check_key(file: Path, key: str, known: Collection[str]) -> None:
    if key == "home":
        raise ConfigError(
            f"{file}: home cannot be set in the home itself", hint="use RAG_AUDIO_HOME or --home"
        )
    if key in known:
        return
    name = key.lower().removeprefix("rag_audio_")
    near = [name] if name in known else get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{file}: there is no setting {key!r}",
        hint=f"{meant}settings: {', '.join(sorted(known))}",
    )


def _in_home(home: Path, value: object) -> object:
    return str(home / Path(value).expanduser()) if isinstance(value, str) and value else value
