"""What `soundforge plugin new` writes: files by path, one module and its tests for each kind of part.

`$name` is the distribution's name, `$module` the Python module's, `$part` what users say, `$Part` the class's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Template

from soundforge.cli.plugin_templates import codec, controls, parts

KINDS: Mapping[str, tuple[str, str, str]] = {
    "conditioner": (parts.CONDITIONER_INIT, parts.CONDITIONER, parts.CONDITIONER_TEST),
    "codec": (codec.CODEC_INIT, codec.CODEC, codec.CODEC_TEST),
    "decoder": (parts.DECODER_INIT, parts.DECODER, parts.DECODER_TEST),
    "clip-processor": (controls.PROCESSOR_INIT, controls.PROCESSOR, controls.PROCESSOR_TEST),
    "bridge": (controls.BRIDGE_INIT, controls.BRIDGE, controls.BRIDGE_TEST),
    "listener": (controls.LISTENER_INIT, controls.LISTENER, controls.LISTENER_TEST),
    "model-family": (controls.FAMILY_INIT, controls.FAMILY, controls.FAMILY_TEST),
}
"""Kind -> the module that registers, the part itself, its tests."""

PYPROJECT = '''\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "A $kind for SoundForge."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["soundforge"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.soundforge]
$module = "$module"

[tool.setuptools]
packages = ["$module"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
'''

README = '''\
# $name

A $kind for SoundForge.

    pip install -e ".[test]"
    soundforge plugins          # it is listed
    soundforge plugin check $module
    pytest

$use
'''

USE: Mapping[str, str] = {
    "conditioner": """Use it, offline and in a running `soundforge serve`:

    soundforge render "slow piano" -o piano.wav --condition $part=A
    oscsend localhost 9130 /soundforge/condition/$part s A""",
    "codec": """Use it: `soundforge.load_codec("$part")`; a checkpoint's configuration names it.""",
    "decoder": """Use it:

    soundforge render "slow piano" -o piano.wav --decoder $part
    oscsend localhost 9130 /soundforge/param/decoder s $part""",
    "clip-processor": """Use it:

    soundforge render "slow piano" -o piano.wav --process $part
    oscsend localhost 9130 /soundforge/param/processors s $part""",
    "bridge": """`soundforge serve` starts it.""",
    "listener": """It hears every event of `soundforge serve`.""",
    "model-family": """Use it:

    soundforge render "slow piano" -o piano.wav --model $part""",
}

CI = '''\
name: test
on: [push, pull_request]
jobs:
  test:
    strategy:
      matrix:
        os: [ubuntu-latest, macos-latest, windows-latest]
    runs-on: $${{ matrix.os }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install -e ".[test]"
      - run: soundforge plugin check $module
      - run: pytest
'''


def files_of(name: str, kind: str, taken: Collection[str] = ()) -> dict[str, str]:
    """Path below the new folder -> text.

    Args:
        name: of the distribution, such as "soundforge-tides"; what users say is then "tides".
        kind: one of `KINDS`.
        taken: what users say already means other parts; the part is called like its module then.
    """
    module = name.lower().replace("-", "_").replace(".", "_")
    short = module.removeprefix("soundforge_")
    part_name = module if short in taken or not short[:1].isalpha() else short
    words = {"name": name, "module": module, "kind": kind.replace("-", " "), "part": part_name,
             "Part": "".join(word.capitalize() for word in part_name.split("_"))}
    words["use"] = Template(USE[kind]).substitute(words)
    register, part, tests = KINDS[kind]
    texts = {"pyproject.toml": PYPROJECT, "README.md": README, ".github/workflows/test.yml": CI,
             ".gitignore": "__pycache__/\n*.egg-info/\nbuild/\n",
             f"{module}/__init__.py": register, f"{module}/part.py": part, f"tests/test_{module}.py": tests}
    return {path: Template(text).substitute(words) for path, text in texts.items()}
