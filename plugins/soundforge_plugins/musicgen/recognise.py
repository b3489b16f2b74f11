"""Which layout a checkpoint folder has, told from file names and configuration alone, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from soundforge.checkpoints.audiocraft_kind import audiocraft_kind

Layout = Literal["audiocraft", "transformers", "native"]

_MAX_CONFIG_BYTES = 16 << 20


def layout_of(folder: Path) -> Layout | None:
    """The layout of a MusicGen or AudioGen checkpoint, None when the folder holds something else.

    Where both published layouts stand side by side, transformers' is taken: it brings its text encoder along.
    """
    config = _config(folder / "config.json")
    if config.get("format") == "soundforge" and config.get("family") == "musicgen":
        return "native"
    if config.get("model_type") in ("musicgen", "musicgen_melody"):
        return "transformers"
    both = (folder / "state_dict.bin").is_file() and (folder / "compression_state_dict.bin").is_file()
    # A file that does not say counts as ours, so that loading it can say what is wrong with it.
    if both and audiocraft_kind(folder) in ("transformer_lm", None):
        return "audiocraft"
    return None


def _config(path: Path) -> dict[str, object]:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
