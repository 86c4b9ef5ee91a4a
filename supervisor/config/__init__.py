"""config.toml: read, checked whole, turned into frozen settings. A bad file changes nothing."""

from supervisor.config.access import AccessTable, TokenTable
from supervisor.config.fleets import ConfiguredCheck, FleetConfig
from supervisor.config.load import Config, load, peek_plugin_paths, peek_socket
from supervisor.config.models import MqttTable, SlackTable

__all__ = [
    "AccessTable",
    "Config",
    "ConfiguredCheck",
    "FleetConfig",
    "MqttTable",
    "SlackTable",
    "TokenTable",
    "load",
    "peek_plugin_paths",
    "peek_socket",
]
