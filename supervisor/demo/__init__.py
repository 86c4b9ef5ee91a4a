"""`sickbay demo`: the main job with nothing else installed."""

from supervisor.demo.plots import Fault
from supervisor.demo.stage import demo

__all__ = ["Fault", "demo"]
