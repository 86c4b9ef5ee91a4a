"""Words in a command that stand for an instance's own: `{address}`, `{version}`. Pure.

`{{` and `}}` stand for the braces themselves. What a macro stands for may be anything that a cloud or a tag says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MACROS = ("address", "id", "fleet", "zone", "image", "version")

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def check_macros(words: Sequence[str]) -> None:
    """Raise `ValueError`, with the remedy, for what no program can be given and for a macro that there is not."""
    for word in words:
        if "\0" in word:
            raise ValueError("expected no NUL character; a program can't be given one")
        for found in _BRACES.finditer(word):
            if found[0] in "{}":
                raise ValueError(f'"{word}" has a single brace; expected {{{{ or }}}} for a brace itself')
            if found[1] is not None and found[1] not in MACROS:
                known = ", ".join(f"{{{name}}}" for name in MACROS)
                raise ValueError(f'"{found[0]}" is not known; expected one of {known}, or {{{{ for a brace itself')


def has_macro(word: str) -> bool:
    """Return whether anything in a word depends on the instance."""
    return any(found[1] is not None for found in _BRACES.finditer(word))


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the words with the instance's own for each macro: as many words, whatever the values are.

    Raises `ValueError` for a value that would pass for an option, such as a version named "-x", and for one with a NUL.
    """
    made = [_BRACES.sub(lambda found: values[found[1]] if found[1] else found[0][0], word) for word in words]
    for template, word in zip(words, made, strict=True):
        if word.startswith("-") and not template.startswith("-"):
            raise ValueError(f'"{template}" is "{word}" here, which the program would take for an option')
        if "\0" in word:
            raise ValueError(f'"{template}" holds a NUL character here, which no program can be given')
    return made
