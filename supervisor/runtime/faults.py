"""What an operating system's error means: an instance that answers badly, one that is silent, or a fault of our own."""

from __future__ import annotations

import errno
import os

from supervisor.api import NoAnswer, Refusal

SILENT = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def meaning(error: OSError) -> NoAnswer | Refusal | OSError:
    """Turn an operating system's error into an answer, into silence, or into a fault of our own."""
    if error.errno in OURS:
        return error
    words = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    return NoAnswer(words) if error.errno in SILENT else Refusal(words)
