"""A load balancer's health check: one real HTTP request, and the reason that ELBv2 would give for its failure."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a probe failed, in ELBv2's words."""

    reason: str
    text: str


async def probe(address: str, port: int, path: str, codes: str, limit: float) -> Verdict | None:
    """Return None if the target answers with one of the codes (`200`, `200-299`, `200,202`) within `limit` seconds."""
    try:
        async with asyncio.timeout(limit):
            status = await _status(address, port, path)
    except TimeoutError:
        return Verdict("Target.Timeout", "Request timed out")
    except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
        return Verdict("Target.FailedHealthChecks", "Health checks failed")
    if any(_in(status, one) for one in codes.split(",")):
        return None
    return Verdict("Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]")


async def _status(address: str, port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        line = await reader.readuntil(b"\r\n")
        return int(line.split()[1])
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _in(status: int, codes: str) -> bool:
    first, _, last = codes.partition("-")
    return int(first) <= status <= int(last or first)
