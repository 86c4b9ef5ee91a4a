"""Icinga 2 with the monitoring plugins: a process for each check."""

from __future__ import annotations

from collections.abc import Sequence

from bench.prober.checker import Checker, Offer
from bench.prober.peers.nagios import PLUGINS, PROGRAMS

CONFIG = """
const NodeName = "bench"
object CheckerComponent "checker" {{ concurrent_checks = 512 }}
object CheckCommand "check" {{ command = [ {command} ] }}
"""
SERVICE = """
object Host "h{n}" {{ address = "{address}"; check_command = "check"; enable_active_checks = false }}
object Service "check" {{
  host_name = "h{n}"
  check_command = "check"
  max_check_attempts = 1
  check_interval = 1s
  retry_interval = 1s
}}
"""


class Icinga(Checker):
    """C++; the plugins are most of it."""

    name = "icinga2"
    works = frozenset(PROGRAMS)
    packages = ("icinga2-bin", "monitoring-plugins-basic")
    needs = ("icinga2", f"{PLUGINS}/check_http")
    most = 50.0

    def command(self, offer: Offer) -> Sequence[str]:
        """One host with one service for each address."""
        program = PROGRAMS[offer.work].format(address="$address$", port=offer.port, path=offer.path)
        command = ", ".join(f'"{word}"' for word in f"{PLUGINS}/{program}".split())
        services = "".join(SERVICE.format(n=n, address=address) for n, address in enumerate(offer.addresses))
        file = offer.write("icinga2.conf", CONFIG.format(command=command) + services)
        folders = [f"-DConfiguration.{kind}Dir={offer.folder}" for kind in ("Data", "Log", "Cache", "Spool", "InitRun")]
        user = ["-DConfiguration.RunAsUser=root", "-DConfiguration.RunAsGroup=root"]
        return ["icinga2", "daemon", "-c", file, "-x", "critical", *folders, *user]
