"""Reads what classes say of themselves: the text below each field, and the first sentence of a docstring."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterable


def field_docs(cls: type) -> dict[str, str]:
    """Return the attribute docstrings of a class whose source is at hand, by field, each on one line.

    pydantic reads those of its models itself; this does it for the core's dataclasses, which know no pydantic.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    return dict(_pairs(body.body)) if isinstance(body, ast.ClassDef) else {}


def _pairs(body: list[ast.stmt]) -> Iterable[tuple[str, str]]:
    for field, text in itertools.pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                yield name, " ".join(doc.split())
            case _:
                pass
