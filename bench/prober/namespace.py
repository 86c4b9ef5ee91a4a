"""A network of our own: no connection tracking, many ports, and as many files as we may have.

Tracking holds some 260,000 connections, TIME_WAIT included; once they are used up, every checker looks bad.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

from bench.prober.checker import Unusable

CLONE_NEWNET = 0x40000000
TRACKED = Path("/proc/sys/net/netfilter/nf_conntrack_count")
TRIED = 16  # connections, to see whether they are tracked
SETTINGS = {
    "ip_local_port_range": "1024 65535",
    "ip_local_reserved_ports": "8000-8099,8700-8799",  # the target's, the checkers' and the daemon's own
    "tcp_tw_reuse": "1",
    "tcp_max_syn_backlog": "65536",
}


def enter() -> str:
    """Move this process into a fresh network namespace; return where it is now, in words.

    Only root may; who is not stays where it is. Raises `Unusable` where connections are tracked.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if os.geteuid() != 0:
        where = "this machine's own network (not root: no namespace could be made)"
    else:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise Unusable(f"no network namespace: {os.strerror(ctypes.get_errno()).lower()}")
        up = subprocess.run(["ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
        if up.returncode != 0:
            raise Unusable(f"loopback can't be brought up in a network namespace: {up.stderr.strip()}")
        for name, value in SETTINGS.items():
            Path("/proc/sys/net/ipv4", name).write_text(value)
        Path("/proc/sys/net/core/somaxconn").write_text("65535")
        where = "a network namespace of its own"
    if tracked():
        raise Unusable("connections are tracked in this network namespace, which would be measured too: run as root")
    return where


def tracked() -> bool:
    """Return whether connections are tracked here: whether the count grows with them."""
    if not TRACKED.exists():
        return False
    before = int(TRACKED.read_text())
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=TRIED))
        for _ in range(TRIED):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        return int(TRACKED.read_text()) - before >= TRIED
