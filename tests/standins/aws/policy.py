"""IAM, as far as a policy of ours goes: actions, resources, and conditions on tags and a few other keys.

An action on several resources is allowed only if each of them is; a Deny on any of them wins. A key that a request does
not have makes a condition false, except under `...IfExists`, `ForAllValues:` and `Null`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.standins.aws.call import Json

Values = dict[str, list[str]]


@dataclass(slots=True)
class Ask:
    """May this action be done to this resource? `keys` are the condition keys with their values."""

    action: str
    resource: str = "*"
    keys: Values = field(default_factory=dict)

    def tagged(self, prefix: str, tags: dict[str, str]) -> Ask:
        """Add tags as condition keys."""
        self.keys |= {f"{prefix}/{key}": [value] for key, value in tags.items()}
        return self


def is_allowed(policy: Json, ask: Ask) -> bool:
    """Judge one question by a policy document."""
    applying = [s for s in _list(policy["Statement"]) if _applies(s, ask)]
    return any(s["Effect"] == "Allow" for s in applying) and not any(s["Effect"] == "Deny" for s in applying)


def _applies(statement: Json, ask: Ask) -> bool:
    actions = [str(a).lower() for a in _list(statement.get("Action", []))]
    if not any(fnmatchcase(ask.action.lower(), pattern) for pattern in actions):
        return False
    if not any(fnmatchcase(ask.resource, pattern) for pattern in _list(statement.get("Resource", []))):
        return False
    conditions: Json = statement.get("Condition", {})
    return all(
        _holds(operator, {k.lower(): v for k, v in ask.keys.items()}, key, [str(v) for v in _list(wanted)])
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, keys: Values, key: str, wanted: list[str]) -> bool:
    found = keys.get(key.lower())
    if operator == "Null":
        return (found is None) == (wanted == ["true"])
    for_all = operator.startswith("ForAllValues:")
    operator = operator.removeprefix("ForAllValues:").removeprefix("ForAnyValue:")
    if found is None:
        return for_all or operator.endswith("IfExists") or "Not" in operator
    operator = operator.removesuffix("IfExists")
    if operator not in OPERATORS:
        raise ValueError(f"the stand-in's IAM does not know {operator}")
    is_met = OPERATORS[operator]
    held = [is_met(value, wanted) for value in found]
    return all(held) if for_all or "Not" in operator else any(held)


def _like(value: str, wanted: list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in wanted)


OPERATORS: dict[str, Callable[[str, list[str]], bool]] = {
    "StringEquals": lambda value, wanted: value in wanted,
    "StringNotEquals": lambda value, wanted: value not in wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() in [w.lower() for w in wanted],
    "StringLike": _like,
    "StringNotLike": lambda value, wanted: not _like(value, wanted),
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() in [w.lower() for w in wanted],
}


def _list(value: Any) -> list[Any]:  # Any: strings or statements
    """Return one or many, as IAM writes them, as many."""
    return value if isinstance(value, list) else [value]
