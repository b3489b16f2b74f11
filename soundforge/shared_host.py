"""The plugin hosts of this process, one for each set of plugins. Thread-safe."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from soundforge.host import PluginHost, create_host

_host_lock = threading.Lock()
_hosts: dict[tuple[str | None, tuple[str, ...]], PluginHost] = {}


def shared_host(plugins_dir: str | os.PathLike[str] | None, no_plugin: tuple[str, ...]) -> PluginHost:
    """One host per set of plugins, so that parts which several models share are loaded once."""
    folder = None if plugins_dir is None else os.fspath(plugins_dir)
    limit = os.environ.get("SOUNDFORGE_PLUGINS")
    key = (folder, (*no_plugin, f"={limit}"))
    with _host_lock:
        if key not in _hosts:
            _hosts[key] = create_host(disabled=no_plugin, plugins_dir=None if folder is None else Path(folder))
        return _hosts[key]
