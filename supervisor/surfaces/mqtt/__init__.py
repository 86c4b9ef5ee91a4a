"""The MQTT broker: what machines send by themselves comes in here.

    broker      which broker, and what it knows us by
    connection  one connection after another, for ever; it reads no more than it is given time for

It knows no heartbeat: whoever listens is handed topic, payload and whether the broker had kept the message.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine
from typing import Any, cast

from supervisor.config import Config
from supervisor.errors import ConfigError
from supervisor.surfaces.mqtt.broker import Broker, read_broker

__all__ = ["Broker", "Deaf", "Take", "listen", "open_broker"]

Take = Callable[[str, bytes, bool], None]
"""Is handed a message's topic and payload, and whether it was retained."""
Deaf = Callable[[str], None]
"""Is told why nothing can be heard, '' once it can."""


def open_broker(config: Config, uid: str) -> Broker | None:
    """Return the broker of a configuration, if it has one. Raises `ConfigError` for a missing extra or secret."""
    if config.mqtt is None:
        return None
    try:
        importlib.import_module("supervisor.surfaces.mqtt.connection")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{config.path}: [mqtt] needs paho-mqtt, which is not installed; run `pip install 'sickbay[mqtt]'`"
        ) from error
    return read_broker(config.mqtt, f"{config.path}: [mqtt]", uid)


def listen(broker: Broker, take: Take, deaf: Deaf) -> Coroutine[Any, Any, None]:  # Any: nothing is sent into it
    """Return what listens to a broker until it is cancelled."""
    connection = importlib.import_module("supervisor.surfaces.mqtt.connection")
    return cast("Coroutine[Any, Any, None]", connection.Connection(broker, take, deaf).run())
