"""How supervisor and check hosts talk: JSON messages with a length before each, over a socket pair."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any

LARGEST = 64 * 1024 * 1024
_LENGTH = struct.Struct("!I")

Message = dict[str, Any]  # Any: JSON


def pack(message: Mapping[str, Any]) -> bytes:  # Any: JSON
    """Return a message's bytes."""
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message, or None at the end. Raises `ValueError` for one that is too large or no JSON object."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > LARGEST:
            raise ValueError(f"a message of {length} bytes, at most {LARGEST} are expected")
        message = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if not isinstance(message, dict):
        raise ValueError("a message that is no object")
    return message
