"""What network an AudioCraft checkpoint folder holds, told without torch and without unpickling anything.

AudioCraft's exports all have the same file names; the configuration, YAML text inside the pickle, says what they
are. The pickle is searched as bytes.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

_LM_MODEL = re.compile(rb"(?:^|\n)lm_model: *([\w-]+)")
_MAX_CONFIG_BYTES = 16 << 20


def audiocraft_kind(folder: Path) -> str | None:
    """The entry `lm_model` ("transformer_lm", "transformer_lm_magnet", "flow_matching"), or None."""
    path = folder / "state_dict.bin"
    try:
        with zipfile.ZipFile(path) as archive:
            member = next((info for info in archive.infolist() if info.filename.endswith("/data.pkl")), None)
            if member is None or member.file_size > _MAX_CONFIG_BYTES:
                return None
            found = _LM_MODEL.search(archive.read(member))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
    return None if found is None else found[1].decode("ascii")
