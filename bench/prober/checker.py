"""What is measured: a program that asks every target once a second, and what it is given to do so."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench.prober.meter import Group


class Unusable(Exception):
    """Something that is needed is not there; the sentence says what."""


NO_SUCH = "it has no such check"


class Work(StrEnum):
    """Kinds of checks."""

    HTTP = "http"
    TCP = "tcp"
    TLS = "tls"
    KEPT = "kept"


WORDS = {
    Work.HTTP: "HTTP, a new connection for each check",
    Work.TCP: "TCP, connect only",
    Work.TLS: "HTTPS, a new connection for each check",
    Work.KEPT: "HTTP, connections kept",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One run of one checker: every address is asked once a second."""

    work: Work
    addresses: Sequence[str]
    port: int
    path: str
    folder: Path
    """A folder of its own, for configuration and whatever it writes."""

    def write(self, name: str, text: str) -> str:
        """Write a file into the folder; return its path."""
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o600)
        return str(file)


class Checker(ABC):
    """A program that checks."""

    name: str
    works: frozenset[Work]
    packages: tuple[str, ...] = ()
    """Debian's, where it is from."""
    needs: tuple[str, ...] = ()
    """The programs that must be there."""
    most: float = float("inf")
    """Checks a second that it is offered at most: what it can do on one core, with room to spare."""

    def missing(self, work: Work) -> str:
        """Return why it can't do such work here, "" when it can."""
        absent = [program for program in self.needs if shutil.which(program) is None]
        if absent:
            return f"{' and '.join(absent)} not installed (Debian: {' '.join(self.packages)})"
        return "" if work in self.works else NO_SUCH

    @abstractmethod
    def command(self, offer: Offer) -> Sequence[str]:
        """Write what it reads into the offer's folder; return how it is started, to stay in the foreground."""

    def beside(self, offer: Offer) -> Sequence[str]:
        """Return a program that drives it, and is not accounted for; () for none."""
        return ()

    def accounts(self, process: subprocess.Popen[bytes], group: Group) -> Mapping[str, Group]:
        """Return what is told of it, each with its account."""
        return {self.name: group}

    def errors(self, offer: Offer) -> int | None:
        """Return how many of its checks failed since it began, by its own word; None when it can't be asked."""
        return None
