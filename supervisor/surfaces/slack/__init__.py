"""Slack: a bot with threads and buttons, or a webhook. Needs the extra `sickbay[slack]`; imported only where it is configured."""

from supervisor.surfaces.slack.buttons import Buttons
from supervisor.surfaces.slack.chat import SlackChat
from supervisor.surfaces.slack.webhook import WebhookChat

__all__ = ["Buttons", "SlackChat", "WebhookChat"]
