"""Cancelling by several hands: the caller's, and the engine's that closes."""

from __future__ import annotations

from soundforge.errors import CancelledError, RequestError
from soundforge.requests import CancelToken


class AnyToken(CancelToken):
    """Cancelled when any of its tokens is; raises RequestError for what is none. Thread-safe: yes."""

    __slots__ = ("_tokens",)

    def __init__(self, *tokens: CancelToken | None) -> None:
        super().__init__()
        for token in tokens:
            if token is not None and not isinstance(token, CancelToken):
                raise RequestError(f"cancel came as {type(token).__name__}, expected a soundforge.CancelToken")
        self._tokens = tuple(token for token in tokens if token is not None)

    @property
    def cancelled(self) -> bool:
        return self._cancelled or any(token.cancelled for token in self._tokens)

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise CancelledError("the job was cancelled")
