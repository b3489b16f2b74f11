"""What waits for the engine: in order, and one message for all that say the same."""

from __future__ import annotations

import queue
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.live.engine_inbox import EngineInbox
from soundforge.live.engine_protocol import (
    CancelJob,
    DropPrompt,
    EndPrompt,
    FeedPrompt,
    LoadModel,
    MuteJob,
    OpenPrompt,
    StartJob,
    StopJob,
    UpdateJob,
)
from soundforge.requests import GenerateRequest

REQUEST = GenerateRequest(text="a", seconds=1.0)


def taken(inbox: EngineInbox) -> list[object]:
    messages = []
    while len(inbox):
        messages.append(inbox.get(0))
    with pytest.raises(queue.Empty):
        inbox.get(0)
    return messages


def test_changes_of_a_job_are_one_change_with_the_newest_of_each_value() -> None:
    inbox = EngineInbox()
    inbox.put(StartJob("a", REQUEST))
    for number in range(10_000):
        inbox.put(UpdateJob("a", {"guidance": {"text": number}, "conditions": {f"c{number % 2}": number}}))
    inbox.put(UpdateJob("b", {"sampling": 1}))
    assert len(inbox) == 3
    start, changed, other = taken(inbox)
    assert start == StartJob("a", REQUEST) and other == UpdateJob("b", {"sampling": 1})
    assert changed == UpdateJob("a", {"guidance": {"text": 9_999}, "conditions": {"c0": 9_998, "c1": 9_999}})


def test_an_id_that_is_used_again_keeps_its_messages_apart() -> None:
    inbox = EngineInbox()
    sent = [UpdateJob("a", {"x": 1}), CancelJob("a"), StartJob("a", REQUEST), UpdateJob("a", {"x": 2}), CancelJob("a")]
    for message in sent:
        inbox.put(message)
    assert taken(inbox) == sent


def test_of_several_models_the_last_one_is_loaded() -> None:
    inbox = EngineInbox()
    for name in ("one", "two", "three"):
        inbox.put(LoadModel(name))
    inbox.put(StartJob("a", REQUEST))
    assert taken(inbox) == [LoadModel("three"), StartJob("a", REQUEST)]
    inbox.put(LoadModel("four"))
    assert taken(inbox) == [LoadModel("four")]


def test_a_job_is_muted_stopped_and_cancelled_once() -> None:
    inbox = EngineInbox()
    for kind in (MuteJob, StopJob, CancelJob) * 50:
        inbox.put(kind("a"))
    assert taken(inbox) == [MuteJob("a"), StopJob("a"), CancelJob("a")]


def test_a_dropped_prompt_takes_its_audio_with_it() -> None:
    inbox, samples = EngineInbox(), np.zeros((480, 2), np.float32)
    for number in range(1000):
        for message in (OpenPrompt(f"p{number}", REQUEST, 48_000), FeedPrompt(f"p{number}", samples),
                        EndPrompt(f"p{number}"), DropPrompt(f"p{number}")):
            inbox.put(message)
    assert len(inbox) == 0
    inbox.put(OpenPrompt("q", REQUEST, 48_000))
    assert isinstance(inbox.get(0), OpenPrompt)
    feed = FeedPrompt("q", samples)
    for message in (feed, DropPrompt("q"), DropPrompt("q")):
        inbox.put(message)  # the engine holds it by now, and must let go of it
    assert taken(inbox) == [feed, DropPrompt("q")]


def test_one_who_waits_is_woken() -> None:
    inbox = EngineInbox()
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(inbox.get()))
    waiting.start()
    time.sleep(0.05)
    inbox.put(StopJob("a"))
    waiting.join(5)
    assert got == [StopJob("a")]
    began = time.perf_counter()
    with pytest.raises(queue.Empty):
        inbox.get(0.05)
    assert time.perf_counter() - began >= 0.04


JOBS, PROMPTS = st.sampled_from("ab"), st.sampled_from("pq")
MESSAGES = st.one_of(
    st.builds(lambda job: StartJob(job, REQUEST), JOBS), st.builds(CancelJob, JOBS), st.builds(MuteJob, JOBS),
    st.builds(StopJob, JOBS), st.builds(UpdateJob, JOBS, st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9))),
    st.builds(LoadModel, st.sampled_from(["m", "n"])),
    st.builds(lambda prompt: OpenPrompt(prompt, REQUEST, 48_000), PROMPTS),
    st.builds(EndPrompt, PROMPTS), st.builds(DropPrompt, PROMPTS), st.just(None))
"""None = the engine takes one."""


class Heard:
    """What an engine that starts nothing itself holds after its messages: changes of each job, prompts, the model."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, object]] = {}
        self.done: dict[str, set[type]] = {}
        self.prompts: dict[str, bool] = {}
        self.model = ""

    def hear(self, message: object) -> None:
        if isinstance(message, StartJob):
            self.changes[message.job], self.done[message.job] = {}, set()
        elif isinstance(message, UpdateJob):
            self.changes.setdefault(message.job, {}).update(message.changes)
        elif isinstance(message, (MuteJob, StopJob, CancelJob)):
            self.done.setdefault(message.job, set()).add(type(message))
        elif isinstance(message, LoadModel):
            self.model = message.name
        elif isinstance(message, OpenPrompt):
            self.prompts[message.prompt] = False
        elif isinstance(message, EndPrompt) and message.prompt in self.prompts:
            self.prompts[message.prompt] = True
        elif isinstance(message, DropPrompt):
            self.prompts.pop(message.prompt, None)


@given(st.lists(MESSAGES, max_size=60))
def test_the_engine_ends_as_if_it_had_heard_every_message(sent: list[object]) -> None:
    inbox, all_of_them, fewer = EngineInbox(), Heard(), Heard()
    opened: set[str] = set()
    for message in sent:
        if message is None:
            if len(inbox):
                fewer.hear(inbox.get(0))
            continue
        if isinstance(message, OpenPrompt):
            if message.prompt in opened:
                continue  # a prompt is dropped before it is opened again
            opened.add(message.prompt)
        elif isinstance(message, DropPrompt):
            opened.discard(message.prompt)
        inbox.put(message)
        all_of_them.hear(message)
    for message in taken(inbox):
        fewer.hear(message)
    assert vars(fewer) == vars(all_of_them)


def test_a_prompt_that_a_waiting_job_names_is_dropped_after_it() -> None:
    inbox = EngineInbox()
    sent = [OpenPrompt("p", REQUEST, 48_000), EndPrompt("p"), StartJob("a", REQUEST, "p"), DropPrompt("p")]
    for message in sent:
        inbox.put(message)
    assert taken(inbox) == sent
