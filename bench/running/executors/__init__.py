"""Where cells run: in this process, each in one of its own, or so on the machines of a cluster."""

from bench.running.executors.inline import Events, inline
from bench.running.executors.isolated import LOG, Isolated

__all__ = ["LOG", "Events", "Isolated", "inline"]
