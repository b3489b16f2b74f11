"""The log file: one rotating text file per machine, or the one that `--log` names.

Standard library only. Every process of `soundforge serve` may call `start_log` with the same path: lines are
appended whole. Thread-safe as `logging` is; never called from the audio callback.
"""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

import platformdirs

from soundforge.errors import SettingsError

MOST_BYTES = 5_000_000
KEPT_FILES = 3
FORMAT = "%(asctime)s %(processName)s %(name)s %(levelname)s %(message)s"


def default_log() -> Path:
    """Where the log is kept unless `--log` says otherwise: the platform's log folder."""
    return Path(platformdirs.user_log_path("soundforge", appauthor=False)) / "soundforge.log"


def start_log(where: Path | None = None, *, debug: bool = False) -> Path | None:
    """Send what our packages log to a file.

    Args:
        where: the file; None = `default_log()`, without which the program also works.
        debug: log everything, not only information and worse.

    Returns:
        The file, or None when the default one cannot be written.

    Raises:
        SettingsError: the file that was asked for cannot be written.
    """
    target = default_log() if where is None else where
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(target, maxBytes=MOST_BYTES, backupCount=KEPT_FILES,
                                                       encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        if where is None:
            return None
        raise SettingsError(f"cannot write the log file {str(where)!r} ({error.strerror or error}); "
                            "name another with --log") from error
    handler.setFormatter(logging.Formatter(FORMAT))
    for name in ("soundforge", "soundforge_plugins", "soundforge_bridges"):
        logger = logging.getLogger(name)
        for old in [h for h in logger.handlers if isinstance(h, logging.handlers.RotatingFileHandler)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.INFO)
        # The screen belongs to the command that runs; the log goes to its file only.
        logger.propagate = False
    return target
