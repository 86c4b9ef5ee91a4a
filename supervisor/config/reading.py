"""One reading of config.toml: finds tables, checks them against their models, and collects every mistake.

Each mistake is one line: file, line, table, key, found, expected, remedy. Nothing is raised before all are known.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from supervisor.config.misread import misread
from supervisor.config.models import ADDRESS, CLIENT_ID, LABEL, NAME, ROOT, SEMVER
from supervisor.config.source import Table, read_source
from supervisor.core.text import clean
from supervisor.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Place = tuple[str | int, ...]
"""Where a key stands, such as ('fleet', 'web', 'check', 0, 'timeout')."""

MOST_TOLD = 50  # mistakes: a file with more of them is another file
UNION = ("str", "dict[str,any]")  # how pydantic names the members of a union


class Reading:
    """A file that was parsed, and what is wrong with it."""

    def __init__(self, path: Path, part: str = "") -> None:
        """Parse; of a file that can't be parsed whole, `part` alone. Raises `ConfigError`."""
        self.path = path
        self.errors: list[str] = []
        self.warnings: list[str] = []
        source = read_source(path, part)
        self.raw, self.lines = source.table, source.lines

    # -- telling what is wrong

    def wrong(self, path: Place, found: str, expected: str) -> None:
        """Note one error at a key."""
        line = self.lines.of(path)
        place = f"{self.path}:{line}" if line else str(self.path)
        names = [str(p) for p in path if not isinstance(p, int)]
        table, key = (".".join(names[:-1]), names[-1]) if len(names) > 1 else ("", ".".join(names))
        where = f"[{table}] {key}" if table else f"[{key}]"
        self.errors.append(clean(f"{place}: {where}{' = ' + found if found else ''} — {expected}"))

    def finish(self) -> None:
        """Raise what was collected."""
        if self.errors:
            more = len(self.errors) - MOST_TOLD
            told = [*self.errors[:MOST_TOLD], f"{self.path}: {more} more mistakes; mend these first"]
            raise ConfigError("\n".join(told if more > 0 else self.errors))

    def relative(self, text: str) -> Path:
        """Return a path, relative ones being relative to the file's folder."""
        return (self.path.parent / text).resolve()

    def table(self, path: tuple[str, ...]) -> Table:
        """Return a table of the file, empty when it is not there."""
        found: Any = self.raw  # Any: what TOML holds
        for name in path:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if not isinstance(found, dict):
            self.wrong(path, show(found), "expected a table")
            return {}
        return found

    def model(self, model: type[M], path: Place, data: Table | None = None) -> M | None:
        """Check one table against its model, and that nothing was read as what it is not."""
        if data is None:
            data = self.table(tuple(str(p) for p in path))
        made = None
        try:
            made = model.model_validate(data)
            found = misread(model, data)
        except ValidationError as error:
            found = error.errors(include_url=False)
        typed = {m for e in found if e["type"] == "extra_forbidden" for m in near(e["loc"][-1], model)}
        told: set[Place] = set()
        for e in found:
            if e["type"] == "missing" and e["loc"][-1] in typed:
                continue  # the same mistake: the key is there, misspelt
            # A union complains once for each of its members, at a place that is not in the file.
            union = [n for n, p in enumerate(e["loc"]) if p in UNION and e["type"] != "extra_forbidden"]
            where = e["loc"][: union[0] if union else None]
            if where not in told:
                told.add(where)
                self._explain((*path, *where), e["type"], e["msg"], e.get("input"), model)
        return None if found else made

    def _explain(self, path: Place, kind: str, message: str, found: object, model: type[BaseModel]) -> None:
        if kind == "extra_forbidden":
            meant = near(path[-1], model)
            known = (
                f"did you mean `{meant[0]}`?" if meant else f"known: {', '.join(sorted(model.model_fields)) or 'none'}"
            )
            self.wrong(path, "", f"this key is not known; {known}")
        elif kind == "missing":
            self.wrong(path, "", "this key is missing; every such table needs it")
        else:
            self.wrong(path, show(found), _expected(message))


def near(name: str | int, model: type[BaseModel]) -> list[str]:
    """Return the key that was probably meant, if any."""
    return difflib.get_close_matches(str(name), model.model_fields, n=1)


def show(found: object) -> str:
    """Return a value as the file has it, cut where it is long."""
    text = f'"{found}"' if isinstance(found, str) else str(found).lower() if isinstance(found, bool) else str(found)
    return text if len(text) <= 80 else text[:79] + "…"


NAMED = "letters, digits, '_' and '-', at most 63, the first one a letter or digit"
PATTERNS = {
    SEMVER: 'a version such as "1.4.0"',
    NAME: f"a name: {NAMED}",
    LABEL: f"a name: {NAMED}; dots may stand between them",
    ROOT: 'the beginning of a topic, with a slash at its end, such as "sickbay/"',
    CLIENT_ID: "letters, digits, '_' and '-', at most 64",
    ADDRESS: 'HOST:PORT such as "db.internal:5432"',
}
"""What a pattern asks for."""
PLAIN = {
    "less than or equal to": "at most",
    "greater than or equal to": "at least",
    "greater than": "more than",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text in quotes",
}


def _expected(message: str) -> str:
    for pattern, meant in PATTERNS.items():
        if f"'{pattern}'" in message:
            return f"expected {meant}"
    for said, meant in PLAIN.items():
        message = message.replace(said, meant)
    text = (
        message.partition(", unable to")[0]
        .removeprefix("Value error, ")
        .removeprefix("Input should be ")
        .replace("valid tuple", "list")
    )
    if "valid dictionary" in text:
        return "expected a table"
    return text if text.startswith("expected") or "expected" in text else f"expected {text}"
