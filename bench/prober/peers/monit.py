"""Monit: one host after the other, in cycles of a second."""

from __future__ import annotations

from collections.abc import Sequence

from bench.prober.checker import Checker, Offer, Work

TESTS = {Work.HTTP: " protocol http request {path}", Work.TCP: ""}


class Monit(Checker):
    """C, one thread that waits for each answer. A cycle is a second and what the checks take: it is a little slower."""

    name = "monit"
    works = frozenset(TESTS)
    packages = needs = ("monit",)
    most = 250.0

    def command(self, offer: Offer) -> Sequence[str]:
        """One host for each address."""
        test = TESTS[offer.work].format(path=offer.path)
        files = "".join(f"set {what}file {offer.folder}/monit.{what}\n" for what in ("id", "state", "pid"))
        hosts = "".join(
            f"check host h{n} with address {address}\n  if failed port {offer.port}{test} with timeout 1 seconds then alert\n"
            for n, address in enumerate(offer.addresses)
        )
        return ["monit", "-I", "-c", offer.write("monitrc", f"set daemon 1\nset log /dev/null\n{files}{hosts}")]
