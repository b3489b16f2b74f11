"""Which layout a checkpoint folder has, told from file names and configuration alone, without torch."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Literal

Layout = Literal["audiocraft", "transformers", "native"]

_LM_MODEL = re.compile(rb"(?:^|\n)lm_model: *([\w-]+)")
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
    lm = folder / "state_dict.bin"
    if lm.is_file() and (folder / "compression_state_dict.bin").is_file() and _is_token_lm(lm):
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


def _is_token_lm(path: Path) -> bool:
    """Whether AudioCraft's file holds the language model and not MAGNeT's or JASCO's network.

    The configuration is YAML text inside the pickle, which is searched as bytes and not unpickled. A file in
    which nothing is found counts as one of ours, so that loading it can say what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next((info for info in archive.infolist() if info.filename.endswith("/data.pkl")), None)
            if member is None or member.file_size > _MAX_CONFIG_BYTES:
                return True
            pickled = archive.read(member)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return True
    found = _LM_MODEL.search(pickled)
    return found is None or found[1] == b"transformer_lm"
