"""Where the golden cases are: the full set beside the checkout, then the subset that the repository holds."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def golden_folders() -> list[Path]:
    """Folders that may hold golden cases; `SOUNDFORGE_GOLDEN` names another full set."""
    named = os.environ.get("SOUNDFORGE_GOLDEN")
    places = [Path(named)] if named else [REPOSITORY.parent / "shared" / "golden"]
    return [place for place in [*places, REPOSITORY / "tests" / "golden"] if place.is_dir()]


def find_golden(name: str) -> Path | None:
    """The folder of one golden case such as "musicgen_text", or None when it is on no list of `golden_folders`."""
    return next((place / name for place in golden_folders() if (place / name).is_dir()), None)
