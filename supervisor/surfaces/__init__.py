"""Where people and programs meet Sickbay: terminal, HTTP API."""
