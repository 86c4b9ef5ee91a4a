"""Slack: a bot with threads, or a webhook. Needs the extra `sickbay[slack]`; imported only where it is configured."""

from supervisor.surfaces.slack.chat import SlackChat
from supervisor.surfaces.slack.webhook import WebhookChat

__all__ = ["SlackChat", "WebhookChat"]
