"""A stand-in for the program `aws`: the same words, read by botocore's own models, carried out with boto3.

A test puts it on PATH, so that a shell executes the documentation as it stands. It takes what the pages use: lists of
words, JSON, `Key=a,Value=b`, `file://`, `--query`, `--output text`. What AWS does not know, it refuses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name

Shape = Any  # Any: botocore has no types


def read(shape: Shape, words: list[str]) -> Any:  # Any: whatever the shape says
    """Return an option's value in the shape that AWS wants."""
    text = " ".join(words)
    if text.startswith("file://"):
        content = Path(text.removeprefix("file://")).read_text(encoding="utf-8")
        return json.loads(content) if shape.type_name != "string" else content
    if shape.type_name == "list" and not text.startswith(("[", "{")):
        return [read(shape.member, [word]) for word in words]
    match shape.type_name:
        case "structure" if not text.startswith("{"):
            pairs = dict(pair.split("=", 1) for pair in text.split(","))
            return {key: read(shape.members[key], [value]) for key, value in pairs.items()}
        case "structure" | "list" | "map":
            return json.loads(text)
        case "integer" | "long":
            return int(text)
        case "boolean":
            return text in ("", "true")
        case _:
            return text


def main(words: list[str]) -> int:
    """Carry one command out."""
    service, command, *options = words
    client = boto3.client(service)
    operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model = client.meta.service_model.operation_model(operations[command])
    members = {f"--{xform_name(name, '-')}": name for name in model.input_shape.members}
    given: dict[str, list[str]] = {}
    for word in options:
        if word.startswith("--"):
            latest = given.setdefault(word, [])
        else:
            latest.append(word)
    query, output = given.pop("--query", []), given.pop("--output", [])
    params = {members[name]: read(model.input_shape.members[members[name]], value) for name, value in given.items()}
    answer = getattr(client, xform_name(operations[command]))(**params)
    found = jmespath.search(query[0], answer) if query else answer
    sys.stdout.write(f"{found if output == ['text'] else json.dumps(found, default=str)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
