"""What gets installed: every package, every entry point, and versions that agree with each other."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = (ROOT / "soundforge", ROOT / "plugins" / "soundforge_plugins", ROOT / "bridges" / "soundforge_bridges")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()


def test_every_folder_with_code_is_a_package() -> None:
    """`packages.find` leaves folders without `__init__.py` out of the wheel, silently."""
    folders = {path.parent for package in PACKAGES for path in package.rglob("*.py")}
    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("name", sorted(PROJECT["project"]["entry-points"]["soundforge"]))
def test_every_built_in_plugin_can_be_imported(name: str) -> None:
    entries = [entry for entry in metadata.entry_points(group="soundforge") if entry.name == name]
    assert entries, "the installed metadata is older than pyproject.toml; run `make env`"
    assert importlib.import_module(entries[0].value)


def test_constraints_pin_every_requirement() -> None:
    pinned = {plain(line): line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
              if "==" in line and not line.startswith("#")}
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(item for extra in ("plot", "dev") for item in
                                          project["optional-dependencies"][extra])]
    assert not [name for name in wanted if plain(name) not in pinned]
    assert pinned["torch"] == "torch==2.13.0"
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in pinned.values())


def test_the_settings_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "write_settings_page.py"), "--check"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
