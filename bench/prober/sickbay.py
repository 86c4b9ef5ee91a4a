"""Sickbay's prober: the real check host, started and fed as the daemon does, with one check for each instance."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from subprocess import Popen
from typing import Any

from bench import proc
from bench.prober.checker import Checker, Offer, Unusable, Work
from bench.prober.meter import Group

PROBER = "Sickbay's prober"
WHOLE = "Sickbay, with reading"
TOLD = "sickbay.json"
STARTS_WITHIN = 10.0  # seconds
HTTP: dict[str, Any] = {"kind": "http"}  # Any: the kind's own keys
CHECKS: Mapping[Work, Mapping[str, Any]] = {
    Work.HTTP: HTTP,
    Work.TCP: {"kind": "tcp"},
    Work.TLS: HTTP | {"scheme": "https", "verify": False},
    Work.KEPT: HTTP | {"connection": "keep"},
}


class Sickbay(Checker):
    """Two accounts: the prober alone; and with it the parent, that reads its results and does nothing else."""

    name = "Sickbay"
    works = frozenset(Work)

    def command(self, offer: Offer) -> Sequence[str]:
        """Start the parent; it starts the prober."""
        check = dict(CHECKS[offer.work]) | {"port": offer.port}
        if check["kind"] == "http":
            check["path"] = offer.path
        given = {"check": check, "addresses": list(offer.addresses), "told": str(offer.folder / TOLD)}
        return [sys.executable, "-m", "bench.prober.parent", offer.write("offer.json", json.dumps(given))]

    def accounts(self, process: Popen[bytes], group: Group) -> Mapping[str, Group]:
        """Put the prober into an account of its own, within the whole: it is the parent's only child."""
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until and process.poll() is None:
            if pids := proc.children(process.pid):
                prober = group.part("prober")
                prober.join(pids[0])
                return {PROBER: prober, WHOLE: group}
            time.sleep(0.01)
        raise Unusable("the prober does not start")

    def errors(self, offer: Offer) -> int | None:
        """Return the results other than OK, as the parent read them."""
        file = offer.folder / TOLD
        told = json.loads(file.read_text()) if file.exists() else {}
        return sum(count for status, count in told.items() if status != "ok") if told else None
