"""Ten thousand heartbeats a second of ten thousand machines, and five times that, through a real Mosquitto: what it costs.

    python -m bench.heartbeats [--machines 10000] [--rate 10000] [--seconds 10] [--plain]

The daemon's side is a process of its own: the connection, the taking path, what the engine does with a beat, and a ticker
that notes how late the loop is. Publisher and broker are not counted. Over TLS as it ships, unless --plain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import struct
import tempfile
import time
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from supervisor.core.heartbeats import Heartbeat
from supervisor.core.settings import Judgement
from supervisor.core.signals import HeartbeatsDeaf, HeartbeatsReported
from supervisor.runtime.ears import Ears
from supervisor.surfaces.mqtt import Broker, listen
from tests.program import free_port
from tests.standins.broker import SUPERVISOR, Mosquitto

SETTLE = 3.0
SLICES = 50  # of a second: how the publisher spreads what it sends
SAID = {
    "boot_id": "0d6b8c7e-3b1c-4a50-9f1e-2f6f0a1b2c3d",
    "metrics": {"load": 0.31, "memory_available_ratio": 0.62, "root_free_ratio": 0.41, "uptime": 123456.0},
    "facts": {"unit:nginx.service": "active"},
}


def main() -> None:
    """Measure both rates, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    for rate in (arguments.rate, 5 * arguments.rate):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), arguments.machines, rate, arguments.seconds, plain=arguments.plain)


def measure(folder: Path, machines: int, rate: int, seconds: float, *, plain: bool) -> None:
    """Start a broker, a listener and a publisher; print what the listener says."""
    mosquitto = Mosquitto(folder, plain=plain)
    door = mosquitto.port
    if not plain:  # the publisher is many machines at once: it comes by a back door
        door, settings = free_port(), folder / "sickbay.conf"
        back = f"\nlistener {door} 127.0.0.1\nallow_anonymous true\n"
        settings.write_text(f"per_listener_settings true\n{settings.read_text()}{back}")
    mosquitto.start()
    broker = _broker(mosquitto)
    context = multiprocessing.get_context("spawn")
    listener = context.Process(target=_listen, args=(broker, machines, seconds))
    publisher = context.Process(target=_publish, args=(door, machines, rate, seconds + SETTLE + 2.0))
    try:
        listener.start()
        time.sleep(1.5)
        print(f"offered {rate}/s of {machines} machines, {'plain' if plain else 'TLS'}: ", end="", flush=True)
        publisher.start()
        listener.join(seconds + 60)
    finally:
        for process in (publisher, listener):
            process.kill()
            process.join()
        mosquitto.kill()


def _broker(mosquitto: Mosquitto) -> Broker:
    certificate, key = mosquitto.authority.issue(SUPERVISOR)
    return Broker(
        host="127.0.0.1",
        port=mosquitto.port,
        tls=not mosquitto.plain,
        root="sickbay/",
        client_id="bench",
        authorities=(mosquitto.folder / "ca.crt").read_text(),
        certificate=certificate.read_text(),
        key=SecretStr(key.read_text()),
        user="",
        password=SecretStr(""),
    )


def _listen(broker: Broker, machines: int, seconds: float) -> None:
    asyncio.run(_hear(broker, machines, seconds))


async def _hear(broker: Broker, machines: int, seconds: float) -> None:
    """Hear for a while; print rate, CPU, loop lag, memory, and what was refused or told."""
    known = {f"i-{number:016d}": Heartbeat() for number in range(machines)}
    judgement, deaf, late = Judgement(), list[str](), list[float]()

    def put(signal: HeartbeatsReported | HeartbeatsDeaf) -> None:
        if isinstance(signal, HeartbeatsDeaf):
            deaf.append(signal.why)
            return
        for name, at in signal.beats:
            known[name].beat(at, judgement)

    async def tick() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - due)

    ears = Ears(lambda name: "web" if name in known else None, lambda _: None, put, lambda *_: None)
    ears.use(broker, broker.root, partial(listen, broker))
    running = [asyncio.create_task(ears.run()), asyncio.create_task(tick())]
    await asyncio.sleep(SETTLE + 1.5)
    late.clear()
    before, cpu, begun = ears.counts, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    elapsed, used = time.monotonic() - begun, time.process_time() - cpu
    counts = {name: (count - before[name]) / elapsed for name, count in ears.counts.items()}
    read = sum(counts.values())
    lag, fresh = sorted(late), sum(heart.is_fresh(time.clock_gettime(time.CLOCK_BOOTTIME)) for heart in known.values())
    print(
        f"read {read:.0f}/s, accepted {counts['accepted']:.0f}/s, shed {counts['shed']:.0f}/s; "
        f"{used / elapsed:.2f} of a core, {1e6 * used / max(1.0, read * elapsed):.0f} µs each; "
        f"loop lag p50 {1e3 * lag[len(lag) // 2]:.1f} ms, p99 {1e3 * lag[len(lag) * 99 // 100]:.1f} ms; "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB; "
        f"{fresh} of {machines} fresh; deaf: {deaf[2:] or 'never'}",
        flush=True,
    )
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def _publish(port: int, machines: int, rate: int, seconds: float) -> None:
    """Send so many messages a second, as machine after machine: bytes that are made beforehand, over one socket."""
    topics = [f"sickbay/v1/web/heartbeat/i-{number:016d}".encode() for number in range(machines)]
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.sendall(_packet(0x10, b"\0\4MQTT\4\2\0\x00" + struct.pack(">H", 4) + b"many"))
        broker.recv(4)
        begun, sent, seq = time.monotonic(), 0, 0
        payload = b""
        while time.monotonic() - begun < seconds:
            batch = bytearray()
            for _ in range(rate // SLICES):
                if sent % machines == 0:
                    seq += 1
                    payload = json.dumps({"seq": seq, **SAID}).encode()
                topic = topics[sent % machines]
                batch += _packet(0x30, struct.pack(">H", len(topic)) + topic + payload)
                sent += 1
            broker.sendall(batch)
            time.sleep(max(0.0, begun + sent / rate - time.monotonic()))


def _packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), bytearray()
    while True:
        size, low = size // 128, size % 128
        length.append(low | (128 if size else 0))
        if not size:
            return bytes((kind, *length)) + body


if __name__ == "__main__":
    main()
