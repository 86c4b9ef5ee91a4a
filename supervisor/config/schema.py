"""The JSON Schema of config.toml, for editors and other programs: built from the models, so that it can't disagree.

It knows the kinds that were found, each with its own keys. What no schema can say (a timeout above its interval, a
name used twice, an image that is not there) is left to `load`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema

from supervisor.config.access import AccessTable, TokenTable
from supervisor.config.models import LOOPBACK, NAME, CheckKeys, FleetKeys, SentinelTable
from supervisor.config.models import TABLES as MODELS
from supervisor.core.duration import exact
from supervisor.plugins import Catalogue, doc_of

Json = dict[str, Any]  # Any: a JSON document
TABLES: dict[str, type[BaseModel]] = {**MODELS, "access": AccessTable}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ELSEWHERE: Json = {  # a listener that is not on loopback needs TLS and a token
    "if": {
        "properties": {
            "supervisor": {"properties": {"listen": {"not": {"pattern": LOOPBACK}}}, "required": ["listen"]}
        },
        "required": ["supervisor"],
    },
    "then": {
        "properties": {"access": {"required": ["certificate", "key"]}, "token": {"minItems": 1}},
        "required": ["access", "token"],
    },
}
MODE: JsonSchemaMode = "validation"
DURATION = TypeAdapter(timedelta)


def schema(catalogue: Catalogue) -> Json:
    """Return the schema of a file that may use everything in the catalogue."""
    checks = {kind: plugin.cls for kind, plugin in catalogue.checks.items()}
    remediations = {kind: plugin.cls for kind, plugin in catalogue.remediations.items()}
    options = {kind: provider.Options for kind, provider in catalogue.providers.items()}
    models: list[type[BaseModel]] = [
        *TABLES.values(),
        SentinelTable,
        TokenTable,
        CheckKeys,
        FleetKeys,
        *checks.values(),
        *remediations.values(),
        *options.values(),
    ]
    pieces = _Pieces(models)
    common, keys = pieces.take(CheckKeys), pieces.take(FleetKeys)
    for kind in sorted(checks):
        pieces.define(f"check.{kind}", _merged(pieces.take(checks[kind]), common, kind, doc_of(checks[kind])))
    for kind in sorted(remediations):
        own = {"properties": {"kind": {}}, "required": ["kind"]}
        pieces.define(
            f"remediation.{kind}", _merged(pieces.take(remediations[kind]), own, kind, doc_of(remediations[kind]))
        )
    check = {
        "type": "array",
        "description": "What is asked of each machine: one table `[[fleet.NAME.check]]` for each question.",
        "items": {"oneOf": [{"$ref": f"#/$defs/check.{kind}"} for kind in sorted(checks)]},
    }
    bare = [kind for kind in sorted(remediations) if not any(f.is_required() for f in _fields(remediations[kind]))]
    keys["properties"]["remediation"]["items"] = {
        "anyOf": [{"enum": bare}, *({"$ref": f"#/$defs/remediation.{kind}"} for kind in sorted(remediations))]
    }
    for kind in sorted(options):
        table = {"description": doc_of(options[kind]), **pieces.take(options[kind])}
        pieces.define(f"provider.{kind}", table)
        pieces.define(f"fleet.{kind}", _fleet(keys, kind, check, needed=bool(table.get("required"))))
    properties: Json = {name: {"$ref": pieces.reference(model)} for name, model in TABLES.items()}
    properties["sentinel"] = {
        "type": "array",
        "description": "What must work if we can see: one table `[[sentinel]]` for each.",
        "items": {"$ref": pieces.reference(SentinelTable)},
    }
    properties["token"] = {
        "type": "array",
        "description": "Who may ask over TCP: one table `[[token]]` for each.",
        "items": {"$ref": pieces.reference(TokenTable)},
    }
    properties["fleet"] = {
        "type": "object",
        "description": "One table `[fleet.NAME]` for each fleet.",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {"oneOf": [{"$ref": f"#/$defs/fleet.{kind}"} for kind in sorted(options)]},
    }
    document = {
        "$schema": DIALECT,
        "title": "config.toml of Sickbay",
        "description": "Made by `sickbay schema`. `sickbay validate` checks what a schema can't say as well.",
        "type": "object",
        "properties": properties,
        "required": ["fleet"],
        "additionalProperties": False,
        **ELSEWHERE,
        "$defs": pieces.definitions,
    }
    return _without_orphans(document)


class _Pieces:
    """The definitions of all models together: pydantic keeps apart what has the same name."""

    def __init__(self, models: Iterable[type[BaseModel]]) -> None:
        references, document = models_json_schema(
            [(model, MODE) for model in dict.fromkeys(models)], schema_generator=_Generator
        )
        self._references = {model: str(found["$ref"]) for (model, _), found in references.items()}
        self.definitions: Json = {name: _tidy(piece) for name, piece in document.get("$defs", {}).items()}

    def reference(self, model: type[BaseModel]) -> str:
        """Return where a model's definition stands."""
        return self._references[model]

    def take(self, model: type[BaseModel]) -> Json:
        """Return a model's definition, to be made part of another one."""
        piece: Json = self.definitions[self._references[model].rpartition("/")[2]]
        return {**piece, "properties": dict(piece.get("properties", {}))}

    def define(self, name: str, piece: Json) -> None:
        """Add a definition."""
        self.definitions[name] = piece


def _without_orphans(document: Json) -> Json:
    """Return the document without definitions that nothing refers to."""
    pieces: Json = document["$defs"]
    used: set[str] = set()
    todo: list[object] = [{key: value for key, value in document.items() if key != "$defs"}]
    while todo:
        match todo.pop():
            case {"$ref": str(reference), **rest}:
                name = reference.rpartition("/")[2]
                todo += [rest, *([pieces[name]] if name not in used else [])]
                used.add(name)
            case Mapping() as inner:
                todo += inner.values()
            case list() as items:
                todo += items
    return {**document, "$defs": {name: pieces[name] for name in sorted(used)}}


class _Generator(GenerateJsonSchema):
    """Pydantic's, but for titles, which only repeat the keys, and durations, which are written as people do."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # Any: pydantic's own union of schemas
        """Never."""
        return False

    def encode_default(self, dft: Any) -> Any:  # Any: whatever a field's default is
        """Return a default as config.toml says it."""
        if isinstance(dft, timedelta):
            return exact(dft)
        if isinstance(dft, tuple | list):
            return [self.encode_default(item) for item in dft]
        return super().encode_default(dft)


def _fields(model: type[BaseModel]) -> Iterable[Any]:  # Any: pydantic's FieldInfo
    return model.model_fields.values()


def _merged(own: Json, common: Json, kind: str, doc: str) -> Json:
    """Return one object with the keys of both; `kind` tells which one is meant."""
    properties = {**common["properties"], **own.get("properties", {})}
    named = properties["kind"].get("description")
    properties["kind"] = {"const": kind, **({"description": named} if named else {})}
    return {
        "type": "object",
        "description": doc,
        "properties": properties,
        "required": [*common.get("required", []), *own.get("required", [])],
        "additionalProperties": own.get("additionalProperties", True),
    }


def _fleet(keys: Json, kind: str, check: Json, *, needed: bool) -> Json:
    """Return a fleet of one provider, with the provider's own table."""
    properties = {
        **keys["properties"],
        "provider": {**keys["properties"]["provider"], "const": kind},
        kind: {"$ref": f"#/$defs/provider.{kind}"},
        "check": check,
    }
    return {**keys, "properties": properties, "required": [*keys["required"], *([kind] if needed else [])]}


def _tidy(piece: JsonSchemaValue) -> Json:
    """Take out what says nothing of a TOML file: titles, nulls; and put the limits of a duration into words."""
    made: Json = {}
    for key, value in piece.items():
        match key, value:
            case ("title", str()) | ("default", None) | ("ge" | "gt" | "le" | "lt", int() | float()):
                pass
            case ("properties" | "$defs" | "patternProperties", dict()):
                made[key] = {name: _tidy(inner) for name, inner in value.items()}
            case "description", str():
                made[key] = " ".join(value.split())
            case ("default" | "const" | "enum" | "examples", _):
                made[key] = value
            case _, [{}, *_]:
                made[key] = [_tidy(inner) for inner in value if inner != {"type": "null"}]
            case _, dict():
                made[key] = _tidy(value)
            case _:
                made[key] = value
    low, high = made.pop("ge", None), made.pop("le", None)
    if low is not None and high is not None:
        limits = f"{exact(DURATION.validate_python(low))} to {exact(DURATION.validate_python(high))}"
        text = made.get("description", "A duration.")
        made["description"] = text if limits in text else f"{text.rstrip('.')}: {limits}."
    if len(made.get("anyOf", ())) == 1:
        made = {**made.pop("anyOf")[0], **made}
    return made
