"""A configuration file as it lies on disk: read within bounds, parsed, and refused in one sentence a person can act on.

Knows bytes, text and TOML; what the keys mean is `load`'s business.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.config.lines import Lines
from supervisor.core.text import clean
from supervisor.errors import ConfigError

Table = dict[str, Any]  # Any: what TOML holds

LARGEST = 1 << 20
"""Bytes. A thousand fleets fit in; a log file given by mistake does not."""
DEEPEST = 20
"""Levels of tables and lists: a config has four, a plugin's options may have more."""

# tomllib takes quadratic time for them, so they are found before it sees them.
_ENDLESS_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){200}""")
_ENDLESS_NUMBER = re.compile(r"(?<!\w)\d[\d_]{4000}")
_TWICE = ("Cannot declare", "Cannot overwrite", "Cannot mutate")


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says, and on which line it says it."""

    table: Table
    lines: Lines


def read_source(path: Path, part: str = "") -> Source:
    """Read and parse a file; where that fails and only a part of it is asked for, that table. Raises `ConfigError`."""
    data = _bytes(path).removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as some editors write it
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    too_deep = f"{path}: is nested too deeply; a config has at most four levels"
    for pattern, refusal in (
        (_ENDLESS_KEY, too_deep),
        (_ENDLESS_NUMBER, f"{path}: holds a number of more than 4000 digits; no key takes one"),
    ):
        if pattern.search(text):
            raise ConfigError(refusal)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        try:
            table = tomllib.loads(_table(text, part))
        except tomllib.TOMLDecodeError:
            table = {}
        if not table:
            raise ConfigError(_syntax(path, text, str(error))) from error
    except RecursionError as error:
        raise ConfigError(too_deep) from error
    if _depth(table) > DEEPEST:
        raise ConfigError(too_deep)
    source = Source(table, Lines(data))
    _refuse_nul(path, source)
    return source


def _table(text: str, name: str) -> str:
    """Return the lines of one table, which may be good in a file that is not."""
    found = (
        re.search(rf"(?ms)^[ \t]*\[{re.escape(name)}\][ \t]*(?:#[^\n]*)?$.*?(?=^[ \t]*\[|\Z)", text) if name else None
    )
    return found[0] if found else ""


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open) as file:
            found = os.fstat(file.fileno())
            data = file.read(LARGEST + 1) if stat.S_ISREG(found.st_mode) else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: can't be read ({reason}); give a readable file's path with --config") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is no regular file; give the file's path with --config")
    if len(data) > LARGEST:
        raise ConfigError(
            f"{path}: is larger than {LARGEST >> 20} MiB ({found.st_size} bytes); give the path of a configuration file"
        )
    return data


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in its place must not keep us waiting


def _syntax(path: Path, text: str, message: str) -> str:
    """Turn tomllib's "… (at line 3, column 7)" into file, line, what stands there, and what to do."""
    what, _, place = message.rpartition(" (at ")
    lines = text.splitlines() or [""]
    at = re.match(r"line (\d+), column (\d+)", place)
    line, column = (int(at[1]), f"column {at[2]}: ") if at else (len(lines), "the file ends here: ")
    found = clean(lines[min(line, len(lines)) - 1], 60)
    where = f"{path}:{line}: {found}{' ' if found else ''}—"
    if what.startswith(_TWICE):
        return f"{where} this stands there twice; keep one of the two"
    return f"{where} {column}{clean(what or message, 200)}; mend the TOML syntax there"


def _depth(table: Table) -> int:
    """Return how many levels there are; counts to just above `DEEPEST`."""
    level: list[object] = [table]
    depth = 0
    while level and depth <= DEEPEST:
        depth += 1
        level = [v for box in level if isinstance(box, dict | list) for v in _inside(box) if isinstance(v, dict | list)]
    return depth


def _inside(box: Table | list[Any]) -> list[Any]:  # Any: what TOML holds
    return list(box.values()) if isinstance(box, dict) else box


def _refuse_nul(path: Path, source: Source) -> None:
    """Refuse what no path, name or address can hold, before somebody hands it to the kernel."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), source.table)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*place, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*place, number), inner) for number, inner in enumerate(value)]
        if (isinstance(value, str) and "\0" in value) or (place and "\0" in str(place[-1])):
            key = clean(".".join(str(part) for part in place))
            raise ConfigError(f"{path}:{source.lines.of(place)}: {key} — holds a NUL character; take it out")
