"""Page, API and event stream over HTTP."""

from supervisor.surfaces.web.server import Server

__all__ = ["Server"]
