"""What went wrong in the engine, in one line for a user."""

from __future__ import annotations

from soundforge.errors import CancelledError, JobError, SoundForgeError
from soundforge.live.engine_protocol import JobFailed

OUT_OF_MEMORY = ("out of memory", "not enough memory", "cannot allocate memory", "can't allocate memory")
"""How Python, torch, its allocators and the system say it."""


class PromptGoneError(JobError):
    """The engine does not hold what a job continues; it can be given it again."""


def failure(job: str, error: Exception) -> JobFailed:
    """How a job ended that raised."""
    return JobFailed(job, one_line(error), cancelled=isinstance(error, CancelledError),
                     prompt_lost=isinstance(error, PromptGoneError))


def one_line(error: BaseException) -> str:
    """Our own errors as they are; others with their type, cut to one line."""
    if isinstance(error, SoundForgeError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return f"out of memory ({text[:200]}); ask for less, or load a smaller model"
    return f"the engine failed with {type(error).__name__}: {text[:300]}"
