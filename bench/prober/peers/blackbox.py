"""Prometheus' blackbox_exporter: it checks when it is scraped, so a scraper is run beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.prober.checker import Checker, Offer, Work

PORT = 8087
CONFIG = """
modules:
  http: {prober: http, timeout: 900ms, http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}}
  tcp: {prober: tcp, timeout: 900ms, tcp: {preferred_ip_protocol: ip4}}
"""
MODULES = {Work.HTTP: ("http", "http://"), Work.TCP: ("tcp", ""), Work.TLS: ("http", "https://")}


class Blackbox(Checker):
    """Go; its figure has the scrape in it, which is the only way to its results."""

    name = "blackbox_exporter"
    works = frozenset({Work.HTTP, Work.TCP, Work.TLS})
    packages = needs = ("prometheus-blackbox-exporter",)
    most = 250.0

    def command(self, offer: Offer) -> Sequence[str]:
        """One module for each kind of check."""
        file = offer.write("blackbox.yml", CONFIG)
        return [*self.needs, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=error"]

    def beside(self, offer: Offer) -> Sequence[str]:
        """Scrape it."""
        module, scheme = MODULES[offer.work]
        path = offer.path if scheme else ""
        targets = "".join(
            f"/probe?module={module}&target={scheme}{address}:{offer.port}{path}\n" for address in offer.addresses
        )
        written = offer.write("targets", targets)
        return [sys.executable, "-m", "bench.prober.peers.scraper", str(PORT), written, str(offer.folder / "errors")]

    def errors(self, offer: Offer) -> int | None:
        """Read what the scraper found."""
        file = Path(offer.folder, "errors")
        return int(file.read_text()) if file.exists() else None
