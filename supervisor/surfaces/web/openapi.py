"""The OpenAPI document, made from the routes and from the documents' types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from supervisor import __version__
from supervisor.core.documents import ErrorDoc
from supervisor.surfaces.web.routes import JSON, Route

Json = dict[str, Any]  # Any: JSON

WHERE = "#/components/schemas/{model}"
ABOUT = """What Sickbay knows, and what an operator may ask.

On loopback this API only reads, but for the webhook of Alertmanager, which has a token. On the unix socket beside the state file it acts as well; who acts is known from the
kernel and written into the audit log. Send an `Idempotency-Key` with what acts: the same key is answered once."""


def openapi(routes: Sequence[Route]) -> Json:
    """Return the document, as OpenAPI 3.1."""
    mode: JsonSchemaMode = "serialization"
    inputs = {r.name: (r.name, mode, TypeAdapter(r.answer)) for r in routes if r.answer is not None}
    keys, definitions = TypeAdapter.json_schemas(
        [*inputs.values(), ("error", mode, TypeAdapter(ErrorDoc))], ref_template=WHERE
    )
    paths: Json = {}
    for route in routes:
        shape = keys.get((route.name, mode))
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shape, keys["error", mode])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sickbay", "version": __version__, "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _operation(route: Route, shape: Any, error: Any) -> Json:  # Any: JSON schemas
    names = re.findall(r"{(\w+)}", route.path)
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    parameters += [
        {"name": q.name, "in": "query", "required": False, "schema": q.schema, "description": q.text}
        for q in route.query
    ]
    content: Json = {route.media: {"schema": shape if shape is not None else {"type": "string"}}}
    answers: Json = {"200": {"description": "as asked", "content": content}}
    refused = dict(route.errors) | {421: "the Host is not one of ours"}
    if names:
        refused[404] = "nothing of that name is known"
    if route.acts:
        refused |= {
            400: "the body is not as described",
            403: "this listener only reads",
            409: "it can't be done as things stand",
            413: "the body is too large",
            415: "the body is not JSON",
            503: "the state file takes no commits now",
        }
        key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}
        parameters.append(key)
    for status, meaning in sorted(refused.items()):
        answers[str(status)] = {"description": meaning, "content": {JSON: {"schema": error}}}
    operation: Json = {"operationId": route.name, "summary": route.text, "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": route.body}}}
    return operation
