"""Where the log goes: standard error, one JSON object a line, or in colour on a terminal.

A log that can't be written (a full disk, a closed pipe) never stops the daemon: lines are lost instead.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO

import structlog


class _Unfailing:
    """A stream whose failures are nobody's business."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(*, quiet: bool) -> None:
    """Log to standard error; quiet keeps errors only."""
    processors: list[Any] = [  # Any: structlog's own typing
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    on_terminal = sys.stderr.isatty()
    processors.append(structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer())
    stream: Any = _Unfailing(sys.stderr)  # Any: what structlog needs of a stream, and no more
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR if quiet else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
