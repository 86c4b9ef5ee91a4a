"""Finds what was read as something that it is not: pydantic is kinder to plain values than a configuration should be."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def misread(model: type[BaseModel], data: dict[str, Any]) -> list[ErrorDetails]:  # Any: what TOML holds
    """Return what pydantic read as another type: "3" as a number, "yes" as a boolean. A typo must not pass for that.

    Strictness is asked for as if the table were JSON, where text may still be an enum, a path or a duration. Only plain
    values count: what a plugin's own validator has made of one is its business.
    """
    try:
        model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        return [
            e
            for e in error.errors(include_url=False)
            if e["type"].endswith("_type") and isinstance(e["input"], str | int | float)
        ]
    return []
