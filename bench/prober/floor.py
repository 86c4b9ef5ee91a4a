"""A checker that does nothing but ask, to see what the asking itself costs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.prober.checker import Checker, Offer, Work

SOURCE = Path(__file__).with_name("floor.c")


class Floor(Checker):
    """`floor.c`, compiled when it is first needed."""

    name = "bare C prober"
    works = frozenset({Work.HTTP, Work.TCP})
    packages = needs = ("gcc",)

    def command(self, offer: Offer) -> Sequence[str]:
        """Compile it into the folder."""
        program = offer.folder / "floor"
        subprocess.run(["gcc", "-O2", "-Wall", "-o", program, SOURCE], check=True)
        return [str(program), offer.work, str(offer.port), offer.path, *offer.addresses]
