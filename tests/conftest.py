"""What every test shares: one thread for torch, hypothesis profiles, and where the golden files are."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports numpy or torch: several test processes on a small machine starve each other otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")

# No deadline: the first draw of a text builds a table for a second, and CI machines pause.
settings.register_profile("quick", max_examples=40, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def golden_folders() -> list[Path]:
    """Folders that may hold golden cases: the full set beside the checkout, then the copied subset."""
    named = os.environ.get("SOUNDFORGE_GOLDEN")
    places = [Path(named)] if named else [REPOSITORY.parent / "shared" / "golden"]
    return [place for place in [*places, REPOSITORY / "tests" / "golden"] if place.is_dir()]


def find_golden(name: str) -> Path | None:
    """The folder of one golden case such as "musicgen_text", or None when it is on no list of `golden_folders`."""
    return next((place / name for place in golden_folders() if (place / name).is_dir()), None)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of the case named by `@pytest.mark.parametrize("golden", [...], indirect=True)`."""
    case = find_golden(str(request.param))
    if case is None:
        pytest.skip(f"no golden case {request.param!r} in tests/golden or beside the checkout")
    return case


@pytest.fixture(scope="session")
def tiny_model() -> str:
    """A real model that generates within a second: a reference model's folder, else the embedded one."""
    found = find_golden("musicgen_text")
    return str(found) if found else "starter"
