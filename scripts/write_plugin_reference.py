"""Write docs/plugins-reference.md from the hook specifications and the interfaces, so that it says what the code says.

    python scripts/write_plugin_reference.py            # write it
    python scripts/write_plugin_reference.py --check    # exit with 1 when it is out of date
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from soundforge import hookspecs, interfaces, requests

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugins-reference.md"
SECTIONS: dict[str, tuple[str, ...]] = {
    "register_conditioners": ("ConditionerDescriptor", "Conditioner", "ConditionerSetup", "ConditionContext",
                              "Condition", "Slot", "BringsProjection", "Projection"),
    "register_codecs": ("CodecDescriptor", "Codec", "CodecStream", "EncodedAudio"),
    "register_model_families": ("ModelFamilyDescriptor", "LoadOptions", "LanguageModelParts", "RestLimits",
                                "SlotWeights", "GenerativeModel", "GeneratedChunk"),
    "register_decoders": ("DecoderDescriptor", "Decoder", "DecoderSetup"),
    "register_clip_processors": ("ClipProcessorDescriptor",),
    "register_bridges": ("BridgeDescriptor", "Bridge"),
    "on_event": (),
}
HEAD = """# Plugin reference

Made from the code by `scripts/write_plugin_reference.py`; a test keeps it current. The tutorial is
[plugins](plugins.md), the kit is [testing plugins](plugins-testing.md), and what shapes and weights mean is
[shapes and guidance](plugins-shapes.md).

Contract version: `SOUNDFORGE_CONTRACT = {version}`. All names are in `soundforge.interfaces`; hooks are marked with
`@soundforge.hookimpl`. A hook may take fewer arguments than its specification, so that hooks can grow.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(version=interfaces.CONTRACT_VERSION)]
    specs = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "soundforge_spec")}
    missing = set(specs) ^ set(SECTIONS)
    if missing:
        raise SystemExit(f"the hooks and the page's sections differ: {', '.join(sorted(missing))}")
    for name, spec in specs.items():
        parts += [f"## {name}\n", f"```\n{signature(spec)}\n```\n", f"{inspect.getdoc(spec)}\n"]
        parts += [described(getattr(interfaces, part)) for part in SECTIONS[name]]
    events = [kind.__name__ for kind in requests.Event.__args__]  # type: ignore[attr-defined]
    parts.append(f"Events, in `soundforge.requests`: {', '.join(f'`{event}`' for event in events)}.\n")
    parts += ["## The host\n", "What a factory gets as `host`.\n", described(interfaces.Host)]
    return "\n".join(parts)


def signature(function: Callable[..., Any]) -> str:
    """`name(argument: type) -> type`, types as they are written."""
    return f"{function.__name__}{inspect.signature(function)}".replace("'", "")


def described(kind: type) -> str:
    """A class: its fields or methods, and its docstring as it stands in the code."""
    lines = [f"### {kind.__name__}\n", "```"]
    if is_dataclass(kind):
        for item in fields(kind):
            default = "" if item.default is MISSING else f" = {item.default!r}"
            lines.append(f"{item.name}: {item.type}{' = {}' if item.default_factory is not MISSING else default}")
    else:
        lines += [f"{name}: {kind_of}" for name, kind_of in vars(kind).get("__annotations__", {}).items()]
        for name, member in vars(kind).items():
            if not name.startswith("_") and inspect.isfunction(member):
                text = signature(member).replace("(self, ", "(").replace("(self)", "()")
                lines += [("async " if inspect.iscoroutinefunction(member) else "") + text]
                lines += [f"    {line}".rstrip() for line in (inspect.getdoc(member) or "").splitlines()]
    return "\n".join([*lines, "```\n", "```text", inspect.getdoc(kind) or "", "```\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8", newline="\n")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/plugins-reference.md is out of date; run: python scripts/write_plugin_reference.py")


if __name__ == "__main__":
    main()
