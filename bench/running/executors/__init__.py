"""Where cells run: in this process, or each in one of its own."""

from bench.running.executors.inline import Events, inline
from bench.running.executors.isolated import LOG, Isolated

__all__ = ["LOG", "Events", "Isolated", "inline"]
