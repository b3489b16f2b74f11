"""All errors that SoundForge raises on purpose.

    SoundForgeError
    ├── InputError              a value from the user cannot be used (also a ValueError)
    │   ├── AudioError          audio: rank, type, rate, NaN, empty, unreadable file
    │   ├── RequestError        a generation parameter is out of range or contradicts another
    │   ├── ConditionError      a condition is unknown, malformed, or its slot is missing
    │   └── SettingsError       settings file, environment variable or flag
    ├── CheckpointError         a model file is missing, corrupted, or does not fit
    │   └── NotCachedError      it would have to be fetched, and there is no network or no permission
    ├── PluginError             a plugin broke its contract; carries name and version
    ├── DeviceError             sound card or MIDI port: absent, busy, lost
    ├── LibraryError            clips and takes on disk: full, unwritable, unknown id
    └── JobError                a generation did not finish
        ├── QueueFullError      too many jobs wait already
        ├── CancelledError      the job was cancelled
        └── EngineLostError     the engine process died while the job ran

Every message is one line that says what came, what was expected, and what to do.
"""

from __future__ import annotations


class SoundForgeError(Exception):
    """Base of every error raised on purpose; its text is fit to be shown to a user."""


class InputError(SoundForgeError, ValueError):
    """A value that came from the user cannot be used."""


class AudioError(InputError):
    """Audio of the wrong rank, type or rate, with NaN, empty, or in an unreadable file."""


class RequestError(InputError):
    """A generation parameter is out of range or contradicts another one."""


class ConditionError(InputError):
    """A condition is unknown, malformed, or the model has no slot for it."""


class SettingsError(InputError):
    """The settings file, an environment variable or a flag holds something unusable."""


class CheckpointError(SoundForgeError):
    """A model file is missing, corrupted, or does not fit what it claims to be."""


class NotCachedError(CheckpointError):
    """A checkpoint is not on this machine and cannot be fetched now."""


class PluginError(SoundForgeError):
    """A plugin broke its contract.

    Args:
        what: what it did and what was expected, one line.
        plugin: name of the plugin, as registered.
        version: version of its distribution, or "" when unknown.
    """

    def __init__(self, what: str, plugin: str = "", version: str = "") -> None:
        label = f"plugin {plugin}" + (f" {version}" if version else "") if plugin else ""
        super().__init__(f"{label}: {what}" if label else what)
        self.what = what
        self.plugin = plugin
        self.version = version

    def __reduce__(self) -> tuple[type[PluginError], tuple[str, str, str]]:
        # The default would re-create the error from the labelled text and label it twice
        # when it crosses from the engine process.
        return type(self), (self.what, self.plugin, self.version)


class DeviceError(SoundForgeError):
    """A sound card or MIDI port is absent, busy or lost."""


class LibraryError(SoundForgeError):
    """The clip library is full, cannot be written, or has no such clip or take."""


class JobError(SoundForgeError):
    """A generation did not finish."""


class QueueFullError(JobError):
    """Too many jobs wait already; the new one was not taken."""


class CancelledError(JobError):
    """The job was cancelled before it was done."""


class EngineLostError(JobError):
    """The engine process died while the job ran; it is being started again."""
