"""Programs that tests need: skipped loudly without them on a developer's machine, failing in CI."""

from __future__ import annotations

import os
import shutil
import warnings

import pytest

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def need(what: str, *programs: str, packages: str, large: bool = False) -> None:
    """End this test here when a program is missing.

    Args:
        what: that is not tested then.
        packages: of Debian, that hold the programs.
        large: too large for `make test` to install it, so CI may skip it as well.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    line = f"{', '.join(missing)} missing: sudo apt-get install -y --no-install-recommends {packages}"
    if IN_CI and not large:
        pytest.fail(line, pytrace=False)
    warnings.warn(f"{what} is NOT tested: {line}", stacklevel=2)
    pytest.skip(line)


def need_rig(what: str = "the real audio server") -> None:
    """End this test here where the rig (`tests/rig/jack_server.py`) cannot run."""
    need(what, "jackd", "jack_lsp", "jack_connect", "jack_rec", "jack_midiseq", "oscsend", "oscdump",
         packages="jackd2 liblo-tools puredata-core")
