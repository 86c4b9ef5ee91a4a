"""The words of an error in config.toml: what was found, and what was expected."""

from __future__ import annotations


def show(found: object) -> str:
    """Show what was found, as TOML writes it, cut at 80 characters."""
    text = f'"{found}"' if isinstance(found, str) else str(found).lower() if isinstance(found, bool) else repr(found)
    return text if len(text) <= 80 else text[:79] + "…"


def expectation(message: str) -> str:
    """Turn pydantic's message into what was expected."""
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return text if text.startswith("expected") or "expected" in text else f"expected {text}"


def syntax(message: str) -> str:
    """Turn tomllib's "… (at line 3, column 7)" round, and say what to do."""
    text, _, place = message.rpartition(" (at ")
    return f"{place.rstrip(')')}: {text}; mend the TOML syntax there" if text else f"{message}; mend the TOML syntax"
