"""Writes docs/reference/ from the models, the plugins and the command line: `make reference`.

A test compares the committed pages with what this makes; nobody writes them by hand.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from supervisor.api import Remediation
from supervisor.cli import app, base
from supervisor.config.models import CheckKeys
from supervisor.config.schema import schema
from supervisor.core.duration import PATTERN as DURATION
from supervisor.plugins import Catalogue, Plugin, discover, doc_of

Json = dict[str, Any]  # Any: a JSON document
FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `make reference`; change the text where it stands in the code. -->\n\n"

CONFIG = """\
# config.toml

Everything that may stand in the file, with its default. [config.toml](../../config.toml) is a commented example;
`sickbay validate --config config.toml` checks all of a file, and `SIGHUP` makes the daemon read it anew.

- A *duration* is text with a unit: "500ms", "30s", "5m", "1h30m", "14d".
- A *share* is a number from 0 to 1, or a percentage: 0.3 or "30%".
- A key that is not known is an error, and so is a value of another type.
- Relative paths lie beside the file.

An editor that knows JSON Schema (with Taplo, such as Even Better TOML) completes and checks the keys, those of your own
plugins included:

```sh
sickbay schema --config config.toml > config.schema.json
sed -i '1i #:schema ./config.schema.json' config.toml
```

"""

CHECKS = """\
# Checks

Every check has [the keys `name`, `kind`, `role`, `interval` and `timeout`](config.md#fleetnamecheck); these are the keys
of each built-in kind. A refused connection is CRITICAL; no answer within the timeout is CRITICAL and *silent*; a check
that fails itself is UNKNOWN, which condemns nobody. [Write your own](../howto/write-a-check.md), and see with
`sickbay plugins` what is there.

"""

REMEDIATIONS = """\
# Remediations

`remediation` of [`[fleet.NAME]`](config.md#fleetname) is a ladder of these: `["restart", "replace"]`, or tables with
`kind` and options. Each is a plan of named steps, frozen in the journal when an incident begins to act, so that a
crash resumes at a step. A step marked *optional* is skipped, and noted, where a floor forbids it; any other waits.
[Write your own](../howto/write-a-remediation.md).

"""

CLI = """\
# The command line

`sickbay COMMAND --help` says the same. Commands that list take `--json`; errors are one sentence on standard error.

{codes}

"""


def pages() -> dict[str, str]:
    """Return every page by its name. Only what ships with Sickbay is in it, whatever is installed here."""
    catalogue = _built_in(discover())
    document = schema(catalogue)
    made = {
        "config.md": _config(document, catalogue),
        "checks.md": _checks(document, catalogue),
        "remediations.md": _remediations(document, catalogue),
        "cli.md": _cli(),
    }
    return {name: MADE + text.rstrip("\n") + "\n" for name, text in made.items()}


def main() -> int:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def _built_in(found: Catalogue) -> Catalogue:
    origins = {kind: origin for kind, origin in found.provider_origins.items() if origin.startswith("built-in")}
    return Catalogue(
        checks={kind: plugin for kind, plugin in found.checks.items() if plugin.builtin},
        remediations={kind: plugin for kind, plugin in found.remediations.items() if plugin.builtin},
        providers={kind: found.providers[kind] for kind in origins},
        provider_origins=origins,
    )


# -- config.toml


def _config(document: Json, catalogue: Catalogue) -> str:
    text = CONFIG
    for name in document["properties"]:
        if name != "fleet":
            text += "".join(_section(document, name, document["properties"][name]))
    kinds = sorted(catalogue.providers)
    fleet = document["$defs"][f"fleet.{kinds[0]}"]
    own = {key: node for key, node in fleet["properties"].items() if key not in (*kinds, "check")}
    own["provider"] = {**own["provider"], "enum": kinds}
    own["provider"].pop("const")
    text += f"## `[fleet.NAME]`\n\n{fleet['description']}\n\n"
    text += _table(document, own, fleet["required"])
    for kind in kinds:
        piece = document["$defs"][f"provider.{kind}"]
        text += f"## `[fleet.NAME.{kind}]`\n\n{piece['description']}\n\n"
        text += _table(document, piece["properties"], piece.get("required", []))
    check = document["$defs"][f"check.{min(catalogue.checks)}"]
    common = {key: check["properties"][key] for key in CheckKeys.model_fields}
    common["kind"] = {"type": "string", "description": common["kind"]["description"]}
    text += "## `[[fleet.NAME.check]]`\n\nThe keys of every check; [each kind](checks.md) has keys of its own beside them.\n\n"
    return text + _table(document, common, ["kind"])


def _section(document: Json, name: str, node: Json) -> Iterator[str]:
    """Yield a table, then the tables within it; deeper ones are values in a row."""
    if node.get("type") == "array":
        piece = _resolved(document, node["items"])
        yield f"## `[[{name}]]`\n\n{piece['description']}\n\n"
        yield _table(document, piece["properties"], piece.get("required", []))
        return
    piece = _resolved(document, node)
    inner = {key: n for key, n in piece.get("properties", {}).items() if _is_table(_resolved(document, n))}
    inner = {} if "." in name else inner
    plain = {key: n for key, n in piece.get("properties", {}).items() if key not in inner}
    if plain or not inner:
        yield f"## `[{name}]`\n\n{piece['description']}\n\n"
        yield _table(document, plain, piece.get("required", []))
    for key, n in inner.items():
        yield from _section(document, f"{name}.{key}", n)


def _is_table(node: Json) -> bool:
    return node.get("type") == "object" and not isinstance(node.get("additionalProperties"), dict)


def _table(document: Json, properties: Mapping[str, Json], required: Sequence[str]) -> str:
    if not properties:
        return ""
    rows = [
        (
            f"`{key}`",
            _values(_resolved(document, node), document),
            "**required**" if key in required else _default(node),
            " ".join(dict.fromkeys(filter(None, (node.get("description"), _told(document, node))))),
        )
        for key, node in properties.items()
    ]
    return _rows(("key", "value", "default", "meaning"), rows)


def _told(document: Json, node: Json) -> str:
    """Say what a table within a table is; what an enumeration is, its values say."""
    target = document["$defs"].get(node.get("$ref", "").rpartition("/")[2], {})
    return str(target.get("description", "")) if "properties" in target else ""


def _resolved(document: Json, node: Json) -> Json:
    if "$ref" not in node:
        return node
    target: Json = document["$defs"][node["$ref"].rpartition("/")[2]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _default(node: Json) -> str:
    if "default" not in node:
        return ""
    return f"`{json.dumps(node['default'], ensure_ascii=False)}`"


def _values(node: Json, document: Json) -> str:
    """Say in a few words what a key may be."""
    match node:
        case {"enum": list(choices)}:
            return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
        case {"type": "object", "properties": dict(keys)} if keys:
            return f"table with {', '.join(f'`{key}`' for key in keys)}"
        case {"anyOf": [{"type": "number"}, {"type": "string", "pattern": str(pattern)}]} if pattern.endswith("%$"):
            return "share"
        case {"anyOf": list(ways)} | {"oneOf": list(ways)}:
            return " or ".join(dict.fromkeys(_values(_resolved(document, way), document) for way in ways))
        case {"type": "string", "pattern": str(pattern)} if pattern == DURATION:
            return "duration"
        case {"type": "string", "format": "path"}:
            return "path"
        case {"type": "string"}:
            return "text"
        case {"type": "boolean"}:
            return "`true` or `false`"
        case {"type": "integer" | "number" as kind}:
            return f"{'whole number' if kind == 'integer' else 'number'}{_limits(node)}"
        case {"type": "array", "items": dict(items)}:
            inner = _values(_resolved(document, items), document)
            return f"list of ({inner})" if " or " in inner else f"list of {inner}"
        case {"type": "object", "additionalProperties": dict(items)}:
            return f"table of {_values(items, document)}"
        case _:
            return "table"


def _limits(node: Json) -> str:
    low, high, above = (node.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if low is not None and high is not None:
        return f", {low:g} to {high:g}" if high < 10_000 else f", {low} to {high:,}"
    if above is not None:
        return f" above {above:g}"
    return f", at least {low:g}" if low is not None else ""


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines) + "\n"


# -- plugins


def _checks(document: Json, catalogue: Catalogue) -> str:
    text = CHECKS
    for kind, plugin in sorted(catalogue.checks.items()):
        piece = document["$defs"][f"check.{kind}"]
        own = {key: node for key, node in piece["properties"].items() if key not in CheckKeys.model_fields}
        text += f"## `{kind}`\n\n{_story(plugin.cls)}\n\n" + _table(document, own, piece["required"])
        if "```toml" not in text.rpartition("\n## ")[2]:  # else it says in its own words how it is used
            text += f"```toml\n{example(document, kind)}```\n\n"
    return text


def example(document: Json, kind: str) -> str:
    """Return the shortest table of a check: what it must have, by the key's own example or a value that it allows."""
    piece = document["$defs"][f"check.{kind}"]
    own = [key for key in piece["required"] if key not in CheckKeys.model_fields]
    lines = [f"{key} = {json.dumps(_some(_resolved(document, piece['properties'][key])))}\n" for key in own]
    return f'[[fleet.web.check]]\nkind = "{kind}"\n{"".join(lines)}interval = "10s"\ntimeout = "3s"\n'


def _some(node: Json) -> object:
    """Return a value that a key allows."""
    match node:
        case {"examples": [first, *_]}:
            return first
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return _some(first)
        case {"type": "integer" | "number"}:
            return node.get("minimum", 1)
        case {"type": "boolean"}:
            return True
        case {"type": "array", "items": dict(items)}:
            return [_some(items)]
        case _:
            return "some text"


def _remediations(document: Json, catalogue: Catalogue) -> str:
    text = REMEDIATIONS
    for kind, plugin in sorted(catalogue.remediations.items()):
        piece = document["$defs"][f"remediation.{kind}"]
        own = {key: node for key, node in piece["properties"].items() if key != "kind"}
        text += f"## `{kind}`\n\n{_story(plugin.cls)}\n\n{_plan(plugin)}" + _table(document, own, piece["required"])
        ladder = f'["{kind}"]' if plugin.cls.removes else f'["{kind}", "replace"]'
        text += f"```toml\n[fleet.web]\nremediation = {ladder}\n```\n\n"
    return text


def _plan(plugin: Plugin[Remediation]) -> str:
    text = f"{'The machine leaves the fleet: it costs a credit.' if plugin.cls.removes else 'The machine stays in the fleet.'} "
    text += f"It may start while the machine is {', '.join(sorted(each.replace('_', ' ') for each in plugin.cls.starts_from))}.\n\n"
    if any(f.is_required() for f in plugin.cls.model_fields.values()):
        return text
    steps = [step.planned() for step in plugin.cls().plan()]
    rows = [(f"`{s.name}`", f"the {s.subject}", "optional" if s.optional else "") for s in steps]
    return text + _rows(("step", "whom", ""), rows)


def _story(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__) if cls.__doc__ else doc_of(cls)


# -- the command line


def _cli() -> str:
    codes = inspect.cleandoc(base.__doc__ or "").partition("\n\n")[2]
    text = CLI.format(codes=codes)
    for name, command in _commands("sickbay", typer.main.get_command(app)):
        arguments = [_named(p) if p.required else f"[{_named(p)}]" for p in _params(command, options=False)]
        text += f"## `{' '.join([name, *arguments])}`\n\n{' '.join((command.help or '').split())}\n\n"
        rows = [
            (
                ", ".join(f"`{o}`" for o in p.opts) if p.opts[0].startswith("-") else f"`{_named(p)}`",
                _parameter_default(p),
                _meaning(p),
            )
            for p in [*_params(command, options=False), *_params(command, options=True)]
        ]
        text += _rows(("", "default", "meaning"), rows) if rows else ""
    return text


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # Any: typer keeps its commands' classes to itself
    inner = getattr(command, "commands", {})
    if not inner or getattr(command, "invoke_without_command", False):
        yield name, command
    for key, each in inner.items():
        yield from _commands(f"{name} {key}", each)


def _params(command: Any, *, options: bool) -> list[Any]:  # Any: likewise
    return [p for p in command.params if p.opts[0].startswith("-") == options]


def _named(parameter: Any) -> str:  # Any: likewise
    return str(parameter.metavar or parameter.name.upper())


def _meaning(parameter: Any) -> str:  # Any: likewise
    kind = parameter.type_descriptor.annotation
    if parameter.metavar is None and inspect.isclass(kind) and issubclass(kind, Enum):
        return f"{parameter.help.rstrip('.')}: {', '.join(f'`{choice.value}`' for choice in kind)}."
    return parameter.help or ""


def _parameter_default(parameter: Any) -> str:  # Any: likewise
    if parameter.required:
        return "**required**"
    variable = f", or `${parameter.envvar}`" if parameter.envvar else ""
    if parameter.default in (None, "", False):
        return variable.removeprefix(", or ")
    return f"`{getattr(parameter.default, 'value', parameter.default)}`{variable}"


if __name__ == "__main__":
    sys.exit(main())
