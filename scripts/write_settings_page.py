"""Write `docs/settings.md` from the settings themselves; with `--check`, fail when it is out of date."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from soundforge.settings import KNOWN, default_library
from soundforge.settings_values import Rule

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

<!-- written by scripts/write_settings_page.py; change soundforge/settings.py instead -->

Each setting is a flag of `soundforge serve`, a variable, and a key of `soundforge.toml`; flags win over variables,
variables over the file. `soundforge doctor` says where the file is looked for; `SOUNDFORGE_CONFIG` names another.

```toml
# soundforge.toml
bpm = 126
osc-allow = ["192.168.1.20"]
presets = ["warm lo-fi drums", "ambient pads", "techno, drums and bass"]
```

In variables lists are separated by commas: `SOUNDFORGE_MIDI_IN="nanoKONTROL2,Launchpad"`.

| flag | key | default | values | what |
|---|---|---|---|---|
"""


def values_of(rule: Rule) -> str:
    """What a rule takes, in words."""
    if rule.choices:
        return ", ".join(rule.choices)
    if rule.kind in ("integer", "number"):
        return f"{rule.low:.0f} to {rule.high:.0f}" if rule.high < 2**40 else f"{rule.low:.0f} or more"
    return {"text": "text", "flag": "true, false", "path": "path", "texts": "list"}[rule.kind]


def default_of(item: dataclasses.Field[Any]) -> str:
    """A default in words; folders that differ from machine to machine are described."""
    if item.default_factory is default_library:
        return "user data folder"
    if item.default is None or item.default == ():
        return ""
    return str(item.default).lower() if isinstance(item.default, bool) else f"{item.default}"


def page() -> str:
    """The whole page."""
    lines = [f"| `--{name.replace('_', '-')}` | `{name.replace('_', '-')}` | {default_of(item)} "
             f"| {values_of(item.metadata['rule'])} | {item.metadata['help']} |" for name, item in KNOWN.items()]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/settings.md.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/settings.md is out of date; run: python scripts/write_settings_page.py")


if __name__ == "__main__":
    main()
