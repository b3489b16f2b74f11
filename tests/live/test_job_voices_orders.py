"""Jobs, the real mixer and an engine that is driven by hand, in any order of events: every voice is given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soundforge.live.audio_commands import AudioCommands
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_protocol import (
    CancelJob,
    JobFailed,
    JobFinished,
    JobMoved,
    JobStreaming,
    MuteJob,
    StartJob,
    StopJob,
    StreamClosed,
)
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.transport import Transport
from soundforge.requests import Event, GenerateRequest, JobEvent
from soundforge.testing.fake_device import FakeDevice

PIECE, WHOLE = 3000, 12_000  # samples that the engine makes at a time, and of a job
ENDS = ("done", "error", "cancelled")


@dataclass
class Made:
    start: StartJob
    count: int = -1
    made: int = 0
    said: set[type] = field(default_factory=set)
    closed: bool = False


class Stage:
    """Loudspeaker, engine and session in one, all of them moved by steps."""

    opened, output_delay, rate = True, 0, 48_000

    def __init__(self, device: FakeDevice) -> None:
        self.device, self.streams = device, device.streams
        self.setup = AudioSetup(block=device.block)
        self.commands = AudioCommands(device.commands, pytest.fail)
        self.rings = {ring.name: ring for ring in device.streams}
        self.runner = JobRunner(self, self.send, self, 8)  # type: ignore[arg-type]
        self.engine: dict[str, Made] = {}
        self.answers: dict[str, list[str]] = {}
        self.hurry = False

    # what the runner asks of the loudspeaker and of the session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.commands, name)

    def soon(self) -> int:
        return self.device.position - 100 if self.hurry else self.device.position + 2 * self.device.block

    def emit(self, event: Event, origin: object | None = None) -> None:
        if isinstance(event, JobEvent) and event.kind in ENDS:
            self.answers[event.job].append(event.kind)

    def transport_now(self) -> Transport:
        return Transport(48_000, 120.0)

    def clip_id(self) -> str:
        return "clip"

    def prompt_for(self, job: Job) -> str | None:
        return ""

    def bring_again(self, job: Job) -> None:
        job.ready = True

    def save(self, job: Job, finished: JobFinished) -> None:
        self.answers[job.id].append("done")

    def job_armed(self, job: Job, at: int, fade: int) -> None: ...
    def job_ends(self, job: Job, at: int, fade: int) -> None: ...
    def job_missed(self, job: Job) -> None: ...
    def job_voice_ended(self, job: Job) -> None: ...

    # the engine

    def send(self, message: Any) -> None:
        if isinstance(message, StartJob):
            self.engine[message.job] = Made(message)
        elif message.job in self.engine:
            self.engine[message.job].said.add(type(message))

    def advance(self, number: int) -> None:
        if not self.engine:
            return
        made = list(self.engine.values())[number % len(self.engine)]
        name, target = made.start.job, made.start.target
        ring = self.rings[target.handle[2]] if target is not None else None
        if made.said & {CancelJob, MuteJob} and not made.closed:
            self.close(made)
        elif CancelJob in made.said:
            self.end(made, JobFailed(name, "cancelled", cancelled=True))
        elif number % 7 == 6:
            self.close(made)
            self.end(made, JobFailed(name, "it cannot"))
        elif made.made < WHOLE and StopJob not in made.said:
            made.made += PIECE
            if ring is not None and not made.closed:
                if made.count < 0:
                    made.count = ring.open_stream()
                ring.write(np.full((PIECE, 2), 0.1, np.float32))
                self.runner.on_engine(JobStreaming(name, made.count, 0))
            self.runner.on_engine(JobMoved(name, made.made / 48_000, WHOLE / 48_000, 2.0))
        else:
            self.close(made)
            self.end(made, JobFinished(name, None, 2.0))  # type: ignore[arg-type]

    def close(self, made: Made) -> None:
        before, made.closed = made.closed, True
        if made.start.target is not None and not before:
            if made.count >= 0:
                self.rings[made.start.target.handle[2]].end_stream()
            self.runner.on_engine(StreamClosed(made.start.job))

    def end(self, made: Made, event: JobFinished | JobFailed) -> None:
        del self.engine[made.start.job]
        self.runner.on_engine(event)

    # the steps

    def ask(self, number: int) -> None:
        if len(self.runner.book.unfinished()) <= 8:
            job = Job(self.runner.book.new_id(f"job-{len(self.answers)}"), "continue" if number % 2 else "generate",
                      GenerateRequest(seconds=1.0), autoplay=number % 5 > 0, endless=number % 3 == 0)
            self.answers[job.id] = []
            job.ready = True
            self.runner.accept(job)
            self.runner.dispatch()

    def hear(self) -> None:
        for what, _, position, token in self.device.events():
            self.runner.on_happened(what, position, token)

    def step(self, what: str, number: int) -> None:
        jobs = list(self.runner.book)
        job = jobs[number % len(jobs)] if jobs else None
        if what == "ask":
            self.ask(number)
        elif what == "engine":
            self.advance(number)
        elif what == "play":
            self.device.run(256 * (number % 40 + 1))
        elif what == "hear":
            self.hear()
        elif what == "poll":
            self.runner.poll()
        elif what == "hurry":
            self.hurry = not self.hurry
        elif what == "lost":
            self.engine.clear()
            self.runner.engine_lost("it died")
        elif what == "silence":
            self.runner.voices.silence()
        elif job is not None:
            if what == "cancel":
                self.runner.cancel(job)
            elif what == "fail":
                self.runner.fail(job, "no capture")
            elif what == "release" and job.endless and not job.releasing:
                self.runner.release(job)


WHAT = st.sampled_from(["ask", "ask", "engine", "engine", "engine", "play", "play", "hear", "poll", "poll", "hurry",
                        "cancel", "fail", "release", "silence", "lost"])


LATE_AND_CANCELLED = [("hurry", 0), ("ask", 1), *[("engine", 0)] * 4, ("play", 1), ("cancel", 0), ("engine", 0),
                      ("engine", 0), ("play", 1), ("hear", 0)]
"""The voice had missed its start, which was not heard of yet, when it was told to stop."""


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@example(LATE_AND_CANCELLED)
@given(st.lists(st.tuples(WHAT, st.integers(0, 200)), max_size=80))
def test_every_voice_is_given_back_and_every_job_answered_once(steps: list[tuple[str, int]]) -> None:
    with FakeDevice(stream_samples=2**14) as device:
        stage = Stage(device)
        for what, number in steps:
            stage.step(what, number)
        stage.hurry = False
        for _ in range(400):
            if not list(stage.runner.book):
                break
            stage.advance(0)
            stage.runner.poll()
            device.run(1024)
            stage.hear()
        assert not list(stage.runner.book), "no job is left that waits for something that will not come"
        assert all(len(answers) == 1 for answers in stage.answers.values()), stage.answers
