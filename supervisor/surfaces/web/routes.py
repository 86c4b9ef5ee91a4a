"""What the HTTP server answers, as a table: it is served from it and described from it, so the description is true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: its JSON schema, and what it does."""

    name: str
    schema: dict[str, Any]  # Any: JSON
    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `answer` is a document's type for JSON, else None; `media` is what is sent.

    `body` is the JSON schema of a request's body, None for those that read. `errors` are the statuses, beside those
    that every route has, with what they mean.
    """

    method: str
    path: str
    name: str
    text: str
    handler: Handler
    answer: Any = None  # Any: a TypedDict, or a list of them
    media: str = JSON
    query: Sequence[Parameter] = ()
    body: dict[str, Any] | None = None  # Any: JSON
    errors: tuple[tuple[int, str], ...] = ()
    guarded: bool = False  # it knows itself whom to let in, on every listener

    @property
    def acts(self) -> bool:
        """Whether it asks the engine to change anything: only the unix socket serves such a route."""
        return self.method == "POST" and not self.guarded
