"""The plugin hosts of this process, one for each set of plugins. Thread-safe."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from soundforge.errors import SettingsError
from soundforge.host import PluginHost, create_host

_host_lock = threading.RLock()
_hosts: dict[tuple[str | None, tuple[str, ...]], PluginHost] = {}
_loading = False


def shared_host(plugins_dir: str | os.PathLike[str] | None, no_plugin: tuple[str, ...]) -> PluginHost:
    """One host per set of plugins, so that parts which several models share are loaded once.

    Raises:
        SettingsError: no such folder; or a plugin's file asks for a host while it is being imported for one.
    """
    global _loading
    folder = None if plugins_dir is None else os.fspath(plugins_dir)
    limit = os.environ.get("SOUNDFORGE_PLUGINS")
    key = (folder, (*no_plugin, f"={limit}"))
    with _host_lock:
        if _loading:
            raise SettingsError("a model was asked for while this file is imported as a plugin; put what the file runs "
                                "below `if __name__ == '__main__':`, or into another folder")
        if key not in _hosts:
            _loading = True
            try:
                _hosts[key] = create_host(disabled=no_plugin, plugins_dir=None if folder is None else Path(folder))
            finally:
                _loading = False
        return _hosts[key]
