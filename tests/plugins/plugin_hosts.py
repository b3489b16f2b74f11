"""A real host with the built-in plugins a test needs, registered by module: it works whatever is installed."""

from __future__ import annotations

import importlib

from soundforge.host import PluginHost
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin


def host_with(*plugins: str) -> PluginHost:
    """A host with these built-in plugins."""
    manager = PluginManager(load_entry_points=False, only=None)
    for name in plugins:
        assert manager.register(importlib.import_module(f"soundforge_plugins.{name}"), Origin(name)), manager.report()
    return PluginHost(manager)
