"""The other programs that check, each as its manual would have it, and with as little besides as it allows."""

from __future__ import annotations

from bench.prober.peers.blackbox import Blackbox
from bench.prober.peers.haproxy import Haproxy
from bench.prober.peers.icinga import Icinga
from bench.prober.peers.monit import Monit
from bench.prober.peers.nagios import Nagios

PEERS = (Haproxy, Blackbox, Monit, Nagios, Icinga)
