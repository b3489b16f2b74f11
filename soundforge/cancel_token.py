"""Asking a generation to stop, from wherever one is."""

from __future__ import annotations

from soundforge.errors import CancelledError


class CancelToken:
    """Set from any thread, looked at once per step by the generation.

    Thread-safe: yes. Realtime-safe: yes (one attribute).
    """

    __slots__ = ("_cancelled",)

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Ask the generation to stop at its next step."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise CancelledError("the job was cancelled")
