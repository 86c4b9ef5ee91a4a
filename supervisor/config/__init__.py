"""config.toml: read, checked whole, turned into frozen settings. A bad file changes nothing."""

from supervisor.config.fleets import ConfiguredCheck, FleetConfig
from supervisor.config.load import Config, load, peek_plugin_paths, peek_socket
from supervisor.config.models import MqttTable, SlackTable

__all__ = [
    "Config",
    "ConfiguredCheck",
    "FleetConfig",
    "MqttTable",
    "SlackTable",
    "load",
    "peek_plugin_paths",
    "peek_socket",
]
