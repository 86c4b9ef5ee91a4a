"""One connection to the broker after another, for ever: subscribes, hands on what comes, and says when nothing can come.

paho speaks the protocol; its socket is read here, in bursts, and for at most a share of the time: where more comes in than
that, the rest waits in the sockets, where the broker drops it. What is lost so makes us deaf as a lost connection does.
Commands are not listened to.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from supervisor import __version__
from supervisor.core.terms import Seconds
from supervisor.surfaces.mqtt import Broker, Deaf, Take

log = structlog.get_logger()

LIMIT: Seconds = 10.0  # for connecting, and for each answer
KEEPALIVE = 10  # seconds: a broker that says nothing for two of them is gone
TICK: Seconds = 1.0
LEAST_WAIT: Seconds = 0.5  # before the next try; doubled each time, and spread by half
MOST_WAIT: Seconds = 15.0
BURST = 64  # messages that are read without a pause
SHARE = 0.4  # of a core may be spent on reading
CREDIT: Seconds = 0.1  # of CPU, at most: whoever is woken late may catch up
CROWDED: Seconds = 2.0  # of reading without ever having read all: messages are being lost
CALM: Seconds = 10.0  # without that, before everybody counts as heard again
RECEIVE_BUFFER = 256 * 1024  # bytes: what waits there is late
TOPICS = ("v1/+/heartbeat/+", "v1/+/presence/+")
STATUS = "v1/status"


class Connection:
    """Listens to one broker. `take` is handed each message, `deaf` why nothing can be heard."""

    def __init__(self, broker: Broker, take: Take, deaf: Deaf) -> None:
        """Prepare; `run` connects."""
        self._broker = broker
        self._take = take
        self._deaf = deaf
        self._threads = ThreadPoolExecutor(1, "mqtt")  # names and handshakes block; nobody else's threads shall

    async def run(self) -> None:
        """Listen until cancelled."""
        wait = LEAST_WAIT
        self._deaf(f"the broker {self._broker} has not answered yet")
        try:
            while True:
                session = Session(self._broker, self._take, self._deaf)
                why = await session.run(self._threads)
                log.info("mqtt.disconnected", broker=str(self._broker), why=why)
                self._deaf(f"no connection to the broker {self._broker}: {why}")
                wait = LEAST_WAIT if session.heard else min(MOST_WAIT, 2 * wait)
                await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311  # a spread, not a secret
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)


class Session:
    """One connection, from its beginning to its end."""

    def __init__(self, broker: Broker, take: Take, deaf: Deaf) -> None:
        """Prepare."""
        self.heard = False  # whether it ever came so far that messages could come
        self._broker = broker
        self._take = take
        self._deaf = deaf
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._accepted: asyncio.Future[str] = self._loop.create_future()
        self._granted: asyncio.Future[str] = self._loop.create_future()
        self._messages = 0
        self._behind: float | None = None  # since when more has been there than a burst reads
        self._crowded_until = 0.0
        self._credit, self._credited = CREDIT, self._loop.time()
        self._socket: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._client = self._make_client()

    def _make_client(self) -> paho.Client:
        broker = self._broker
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=MQTTProtocolVersion.MQTTv311,  # 5 costs paho twice the time for each message
            reconnect_on_failure=False,
        )
        client.connect_timeout = LIMIT / 2
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._message
        client.on_disconnect = self._disconnected
        client.on_socket_close = self._closes
        client.will_set(broker.root + STATUS, _status("offline"), qos=1, retain=True)
        if broker.user:
            client.username_pw_set(broker.user, broker.password.get_secret_value())
        if broker.tls:
            client.tls_set_context(broker.context())
        return client

    async def run(self, threads: ThreadPoolExecutor) -> str:
        """Connect and listen; return why it ended."""
        connecting = self._loop.run_in_executor(threads, self._connect)
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(lambda done: done.cancelled() or done.exception() or self._client.disconnect())
            raise
        except (OSError, ValueError) as error:
            return _words(error)
        connection = self._client.socket()
        if not isinstance(connection, socket.socket):
            return "it closed the connection at once"
        self._socket = connection
        try:
            self._loop.add_reader(connection, self._read)
            return await self._listen()
        finally:
            self._close()

    def _connect(self) -> None:
        """Connect; in a thread, because names and handshakes block."""
        self._client.connect(self._broker.host, self._broker.port, KEEPALIVE)

    async def _listen(self) -> str:
        why = await self._answer(self._accepted, "it did not accept the connection")
        if why:
            return why
        with suppress(OSError):
            if self._socket is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._client.subscribe([(self._broker.root + topic, 0) for topic in TOPICS])
        why = await self._answer(self._granted, "it did not confirm the subscription")
        if why:
            return why
        self._client.publish(self._broker.root + STATUS, _status("online"), qos=1, retain=True)
        log.info("mqtt.connected", broker=str(self._broker))
        self.heard = True
        self._deaf("")
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=TICK)
            self._look()
        return self._ended.result()

    async def _answer(self, answer: asyncio.Future[str], late: str) -> str:
        """Wait for an answer of the broker's; return why there is no good one."""
        done, _ = await asyncio.wait([answer, self._ended], timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        return next((future.result() for future in (answer, self._ended) if future in done), late)

    def _look(self) -> None:
        """Keep the connection alive; note whether messages are lost because we read too slowly."""
        code = self._client.loop_misc()
        if code is MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.want_write():
            code = self._client.loop_write()
        self._end(code)
        now = self._loop.time()
        crowded = now < self._crowded_until
        if self._behind is not None and now - self._behind > CROWDED:
            self._crowded_until = now + CALM
        if crowded is not (now < self._crowded_until) and not self._ended.done():
            self._deaf("" if crowded else "more messages come in than can be read")

    def _read(self) -> None:
        """Read what is there, a burst at most; then give others a turn, or rest when our share of the core is spent."""
        begun, client, connection = time.thread_time(), self._client, self._socket
        if connection is None:
            return
        for _ in range(BURST):
            before = self._messages
            code = client.loop_read()
            if code is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._end(code)
                return
            if self._messages == before and not (isinstance(connection, ssl.SSLSocket) and connection.pending()):
                self._behind = None
                return
        now = self._loop.time()
        earned = self._credit + SHARE * (now - self._credited)
        self._credit, self._credited = min(CREDIT, earned) - (time.thread_time() - begun), now
        if self._behind is None:
            self._behind = now
        self._loop.remove_reader(connection)
        self._pause = self._loop.call_later(max(0.0, -self._credit / SHARE), self._go_on)

    def _go_on(self) -> None:
        if self._socket is not None and not self._ended.done():
            self._loop.add_reader(self._socket, self._read)
            self._read()  # what TLS has decrypted already wakes nobody

    # -- what paho calls

    def _connected(self, _: object, __: object, ___: object, code: ReasonCode, ____: object) -> None:
        if not self._accepted.done():
            self._accepted.set_result(f"it refuses us: {code}" if code.is_failure else "")

    def _subscribed(self, _: object, __: object, ___: object, codes: list[ReasonCode], ____: object) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if not self._granted.done():
            self._granted.set_result(f"it refuses the subscription: {refused[0]}" if refused else "")

    def _message(self, _: object, __: object, message: Any) -> None:  # Any: paho's callbacks are typed so
        self._messages += 1
        with suppress(UnicodeDecodeError):
            self._take(message.topic, message.payload, message.retain)

    def _disconnected(self, _: object, __: object, flags: Any, code: ReasonCode, ____: object) -> None:  # Any: the same
        told = f"it closed the connection: {code}" if flags.is_disconnect_packet_from_server else "it broke off"
        if not self._ended.done():
            self._ended.set_result(told)

    def _closes(self, _: object, __: object, ___: object) -> None:
        """Let go of the socket before it is closed: whoever has its number next must not be taken for it."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket = None

    # -- the end

    def _end(self, code: MQTTErrorCode) -> None:
        if code is not MQTTErrorCode.MQTT_ERR_SUCCESS and not self._ended.done():
            self._ended.set_result(paho.error_string(code).rstrip("."))

    def _close(self) -> None:
        """Say good-bye where that is possible: who breaks off has his last will told."""
        with suppress(OSError, ValueError):
            if self._client.is_connected():
                self._client.publish(self._broker.root + STATUS, _status("offline"), qos=1, retain=True)
                self._client.disconnect()
        # paho closes its socket when it has read the end, or has met an error: neither may have happened.
        left = self._socket
        if left is not None:
            self._closes(None, None, None)
            left.close()


def _status(state: str) -> str:
    return json.dumps({"state": state, "version": __version__})


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
