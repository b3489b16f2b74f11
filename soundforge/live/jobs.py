"""The jobs of a session: ids, origins, what each has reached. Book-keeping only; belongs to the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from soundforge.errors import QueueFullError, RequestError
from soundforge.library_ids import MAX_ID_CHARACTERS
from soundforge.live.engine_protocol import JobFinished
from soundforge.live.launching import Launch
from soundforge.live.transport import Transport
from soundforge.requests import Event, GenerateRequest

Kind = Literal["generate", "continue", "takeover"]


@dataclass(eq=False)
class Job:
    """One job from its acceptance until nothing of it sounds any more.

    A job goes through two lives at once: the engine's (`sent`, `streaming`, `engine_done`) and the loudspeaker's
    (`armed`, `sounding`, `voice_done`). `stream_closed` = the engine writes no more into its ring. `gain` is that of
    its voice (a trigger's velocity scales it); the clip is kept at full level. `failure` = why it is to end, as soon as
    the engine has let go of it. `stopping` = its voice was told to stop, and starts no more.
    `line_beat` = the bar line on which a takeover's clip begins.
    """

    id: str
    kind: Kind
    request: GenerateRequest
    origin: Any = None
    take: str = ""
    clip: str = ""
    autoplay: bool = True
    quantum: float = 0.0
    gain: float = 1.0
    endless: bool = False
    failure: str = ""
    lead_seconds: float = 0.0
    text: str | None = None
    begin: int = -1
    line: int = -1
    line_position: int = -1
    line_beat: float | None = None
    launch: Launch | None = None
    # the engine's life; `ready` = its prompt and conditions are there
    ready: bool = False
    crowded_told: bool = False
    sent: bool = False
    sent_at: float = 0.0
    streaming: bool = False
    engine_done: bool = False
    stream_closed: bool = False
    made_seconds: float = 0.0
    total_seconds: float = 0.0
    told_fraction: float = 0.0
    releasing: bool = False
    # the loudspeaker's life
    voice: int = -1
    token: int = 0
    count: int = 0
    lead_samples: int = 0
    armed: bool = False
    sounding: bool = False
    starved: bool = False
    stopping: bool = False
    voice_done: bool = False
    playing_told: bool = False
    cancelled: bool = False

    @property
    def plays(self) -> bool:
        """It has, or will have, a voice."""
        return self.autoplay and not self.voice_done

    @property
    def over(self) -> bool:
        """Nothing of it is left to happen."""
        return self.engine_done and not (self.voice >= 0 and not (self.voice_done and self.stream_closed))


class JobBook:
    """All jobs that are not over, and the ids that were given.

    Args:
        limit: jobs that may wait for the engine beside the one it works on.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: dict[str, Job] = {}
        self._tokens: dict[int, Job] = {}
        self._last = self._last_token = 0

    def __iter__(self) -> Any:
        return iter(list(self._jobs.values()))

    def find(self, job: str) -> Job | None:
        return self._jobs.get(job)

    def by_token(self, token: int) -> Job | None:
        return self._tokens.get(token)

    def unfinished(self) -> list[Job]:
        """Jobs that the engine has not finished, in the order they came."""
        return [job for job in self._jobs.values() if not job.engine_done]

    @property
    def queued(self) -> int:
        """Jobs that wait for the engine."""
        return max(0, len(self.unfinished()) - 1)

    def new_id(self, wanted: str) -> str:
        """`wanted`, or the next free `job-N`.

        Raises:
            QueueFullError: too many jobs wait already.
            RequestError: the id is in use or too long.
        """
        if len(self.unfinished()) > self._limit:
            raise QueueFullError(f"{self.queued} jobs wait already, which is the limit; wait for one, or cancel one")
        if wanted:
            if wanted == "*" or len(wanted) > MAX_ID_CHARACTERS or not wanted.isprintable():
                raise RequestError(f"job id came as {wanted[:80]!r}, expected 1 to {MAX_ID_CHARACTERS} printable "
                                   "characters, and not '*'")
            if wanted in self._jobs:
                raise RequestError(f"job id {wanted!r} is in use; choose another, or leave it out")
            return wanted
        while True:
            self._last += 1
            if f"job-{self._last}" not in self._jobs:
                return f"job-{self._last}"

    def add(self, job: Job) -> None:
        self._last_token += 1
        job.token = self._last_token
        self._jobs[job.id] = job
        self._tokens[job.token] = job

    def forget(self, job: Job) -> None:
        """A job that is over frees its id."""
        self._jobs.pop(job.id, None)
        self._tokens.pop(job.token, None)

    def next_token(self) -> int:
        """A token for a voice that belongs to no job."""
        self._last_token += 1
        return self._last_token


class Owner(Protocol):
    """What the runner and the voices ask of the session."""

    def emit(self, event: Event, origin: object | None = None) -> None: ...
    def transport_now(self) -> Transport: ...
    def clip_id(self) -> str: ...
    def prompt_for(self, job: Job) -> str | None: ...
    def bring_again(self, job: Job) -> None: ...
    def save(self, job: Job, finished: JobFinished) -> None: ...
    def job_armed(self, job: Job, at: int, fade: int) -> None: ...
    def job_ends(self, job: Job, at: int, fade: int) -> None: ...
    def job_missed(self, job: Job) -> None: ...
    def job_voice_ended(self, job: Job) -> None: ...
