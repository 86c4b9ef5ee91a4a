"""Opens the surfaces that a configuration names. What an extra brings is imported here, late, and only if it is wanted."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from supervisor.config import Config, SlackTable
from supervisor.errors import ConfigError
from supervisor.ports import Chat
from supervisor.surfaces.terminal import TerminalChat


def open_chats(config: Config, old: Config | None = None, chats: Mapping[str, Chat] | None = None) -> dict[str, Chat]:
    """Return the surfaces of a configuration; of the `old` one's `chats`, those whose table stayed the same are kept.

    Raises `ConfigError` for a missing extra or secret.
    """
    known = chats or {}
    opened: dict[str, Chat] = {}
    if "terminal" in config.settings.surfaces:
        opened["terminal"] = known.get("terminal") or TerminalChat()
    if config.slack is not None:
        same = old is not None and (old.slack, old.url) == (config.slack, config.url)
        opened["slack"] = known["slack"] if same else _open_slack(config, config.slack)
    return opened


def _open_slack(config: Config, table: SlackTable) -> Chat:
    try:
        slack = importlib.import_module("supervisor.surfaces.slack")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{config.path}: [chat.slack] needs {error.name}, which is not installed; run `pip install 'sickbay[slack]'`"
        ) from error
    if table.token is not None:
        token = table.token.read(f"{config.path}: [chat.slack] token").get_secret_value()
        buttons = None
        if table.app_token is not None:
            app_token = table.app_token.read(f"{config.path}: [chat.slack] app_token").get_secret_value()
            buttons = slack.Buttons(token, app_token, table.operators, api_url=table.api_url)
        chat = slack.SlackChat(token, table.channel, api_url=table.api_url, page=config.url, buttons=buttons)
        return cast(Chat, chat)
    if table.webhook is not None:
        hook = table.webhook.read(f"{config.path}: [chat.slack] webhook").get_secret_value()
        return cast(Chat, slack.WebhookChat(hook, page=config.url))
    raise ConfigError(f"{config.path}: [chat.slack] has neither token nor webhook; give it one")
