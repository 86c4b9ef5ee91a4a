"""Nagios Core with the monitoring plugins: a process for each check."""

from __future__ import annotations

from collections.abc import Sequence

from bench.prober.checker import Checker, Offer, Work

PLUGINS = "/usr/lib/nagios/plugins"
PROGRAMS = {
    Work.HTTP: "check_http -I {address} -p {port} -u {path} -t 1",
    Work.TCP: "check_tcp -H {address} -p {port} -t 1",
}
CONFIG = """
cfg_file={folder}/objects.cfg
nagios_user=root
nagios_group=root
log_file={folder}/nagios.log
object_cache_file={folder}/objects.cache
precached_object_file={folder}/objects.precache
status_file={folder}/status.dat
lock_file={folder}/nagios.lock
temp_file={folder}/nagios.tmp
temp_path={folder}
check_result_path={folder}
query_socket={folder}/nagios.qh
command_file={folder}/nagios.cmd
log_archive_path={folder}
check_external_commands=0
retain_state_information=0
enable_notifications=0
enable_event_handlers=0
execute_host_checks=0
use_syslog=0
interval_length=1
status_update_interval=3600
check_for_updates=0
service_check_timeout=5
max_service_check_spread=1
"""
OBJECTS = """
define timeperiod {{
    timeperiod_name always
    alias always
    sunday 00:00-24:00
    monday 00:00-24:00
    tuesday 00:00-24:00
    wednesday 00:00-24:00
    thursday 00:00-24:00
    friday 00:00-24:00
    saturday 00:00-24:00
}}
define contact {{
    contact_name nobody
    host_notifications_enabled 0
    service_notifications_enabled 0
    host_notification_period always
    service_notification_period always
    host_notification_commands check
    service_notification_commands check
}}
define command {{
    command_name check
    command_line {plugins}/{program}
}}
"""
SERVICE = """
define host {{
    host_name h{n}
    address {address}
    max_check_attempts 1
    check_period always
    contacts nobody
}}
define service {{
    host_name h{n}
    service_description check
    check_command check
    max_check_attempts 1
    check_interval 1
    retry_interval 1
    check_period always
    contacts nobody
}}
"""


class Nagios(Checker):
    """C; the plugins are most of it."""

    name = "nagios4"
    works = frozenset(PROGRAMS)
    packages = ("nagios4-core", "monitoring-plugins-basic")
    needs = ("nagios4", f"{PLUGINS}/check_http")
    most = 50.0

    def command(self, offer: Offer) -> Sequence[str]:
        """One host with one service for each address."""
        program = PROGRAMS[offer.work].format(address="$HOSTADDRESS$", port=offer.port, path=offer.path)
        services = "".join(SERVICE.format(n=n, address=address) for n, address in enumerate(offer.addresses))
        offer.write("objects.cfg", OBJECTS.format(plugins=PLUGINS, program=program) + services)
        return ["nagios4", offer.write("nagios.cfg", CONFIG.format(folder=offer.folder))]
