"""The conformance kit for plugin authors, and test doubles.

Each check is a plain function that raises AssertionError with one line: the built-in plugins pass the same.

    from soundforge.testing import check_conditioner, check_plugin

    def test_plugin():
        check_plugin("my_plugin")

    test_parts = plugin_checks("my_plugin")   # every part of it, with the examples that its descriptors give

`pytest --soundforge-plugin NAME` runs the same without a test file (see `soundforge.testing.pytest_plugin`).

Importing this package imports no torch; the checks that need it do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundforge.testing.bridges import QuietSession, check_bridge
    from soundforge.testing.codecs import check_codec
    from soundforge.testing.conditioners import DEFAULT_CONTEXT, check_conditioner
    from soundforge.testing.families import check_model_family
    from soundforge.testing.parts import LeftToItsTestsError, PartCheck, checks_of, plugin_checks
    from soundforge.testing.plugins import PluginFacts, check_plugin
    from soundforge.testing.sound import check_clip_processor, check_decoder

_HOMES = {
    "bridges": ("QuietSession", "check_bridge"),
    "codecs": ("check_codec",),
    "conditioners": ("DEFAULT_CONTEXT", "check_conditioner"),
    "families": ("check_model_family",),
    "parts": ("LeftToItsTestsError", "PartCheck", "checks_of", "plugin_checks"),
    "plugins": ("PluginFacts", "check_plugin"),
    "sound": ("check_clip_processor", "check_decoder"),
}

__all__ = [
    "DEFAULT_CONTEXT",
    "LeftToItsTestsError",
    "PartCheck",
    "PluginFacts",
    "QuietSession",
    "check_bridge",
    "check_clip_processor",
    "check_codec",
    "check_conditioner",
    "check_decoder",
    "check_model_family",
    "check_plugin",
    "checks_of",
    "plugin_checks",
]


def __getattr__(name: str) -> Any:
    # pytest imports this package wherever SoundForge is installed: it must cost nothing until it is used.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"soundforge.testing.{home}"), name)
    raise AttributeError(f"module 'soundforge.testing' has no attribute {name!r}")
