"""What is wrong with a run's episodes and labels: every byte against its checksum, every stamp against time's arrow."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_rl.clock import SECOND
from robot_rl.errors import StoreError
from robot_rl.store.episode import MCAP_NAME, Manifest, verify
from robot_rl.store.files import load_json, open_inside
from robot_rl.store.label_snapshot import LabelSnapshot
from robot_rl.store.mcap_file import DAMAGE, body_of, read_messages_of
from robot_rl.store.ros import CAMERA, CAMERAS, STEPS
from robot_rl.store.run import ADAPT, RunDirectory
from robot_rl.store.training import foreign

PERIODIC_S = 0.25
"""A topic whose messages come more often than this, in the median, is a stream: a camera, the control steps."""
GAP_S = 1.0
"""Silence of a stream that is worth a word."""


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    where: str
    what: str


def check_episodes(run: RunDirectory) -> Iterator[list[Finding]]:
    """What is wrong with each closed episode, in order: checksums, counts, foreign content, clocks."""
    info, previous = run.read_info(), None
    in_turn = ADAPT not in info.arguments
    """Else many are played at once, and one that was lost is played again after others began."""
    for number in run.closed_episodes():
        where = f"episode {number}"
        try:
            manifest = verify(run.episode(number))
        except StoreError as error:
            yield [Finding(where, str(error))]
            continue
        header, said = manifest.header, []
        if header.episode != number:
            said.append(f"its manifest is of episode {header.episode}; it is not used")
        if (words := foreign(header, info)) is not None:
            said.append(f"{words}; it is not used")
        if in_turn and previous is not None and header.started_wall_ns < previous.started_wall_ns - SECOND:
            back = (previous.started_wall_ns - header.started_wall_ns) / SECOND
            said.append(f"the date goes back by {back:.0f} s against episode {previous.episode}")
        said += check_recording(run.episode(number), manifest)
        previous = header
        yield [Finding(where, words) for words in said]


def check_numbers(run: RunDirectory) -> list[Finding]:
    """Gaps in the numbers of episodes; numbers are never given away twice, so that one that is missing was removed."""
    closed = run.closed_episodes()
    return [
        Finding(f"episode {missing}", "is not there, and later ones are: was its directory removed?")
        for missing in sorted(set(range(1, max(closed, default=0))) - set(closed))
    ]


def check_labels(run: RunDirectory) -> list[Finding]:
    """A log that is gone, damaged, another run's or older than what was learnt of it; labels without an episode."""
    closed, name = set(run.closed_episodes()), run.labels.name
    if not os.path.lexists(run.labels):
        return [Finding(name, f"the label log of {len(closed)} episodes is gone")] if closed else []
    try:
        log = LabelSnapshot(run.labels)
        try:
            found = [Finding(name, words) for words in log.damage()]
            labels, newest, owner = log.current(), log.watermark(), log.owner
        finally:
            log.close()
    except StoreError as error:
        return [Finding(name, str(error))]
    if log.empty and closed:
        found.append(Finding(name, f"nothing is in it, and {len(closed)} episodes are closed: their labels are gone"))
    elif owner not in (0, run.identity):
        found.append(Finding(name, "is the label log of another run"))
    known, where = _followed(run)
    if known > newest:
        what = f"its newest event is number {newest}, and {where} was trained on labels up to number {known}"
        found.append(Finding(name, f"{what}: the labels between are gone"))
    return found + [
        Finding(f"episode {number}", f"labelled {event.label.value.value} by {event.label.author}, and is not there")
        for number, event in labels.items()
        if number not in closed
    ]


def _followed(run: RunDirectory) -> tuple[int, str]:
    """The newest label event that anything in the run says it has seen, and what says so; what is damaged says none."""
    found = (0, "")
    paths = [path for folder in (run.adapters, run.checkpoints) for path in _manifests(folder)]
    for path in (*paths, run.learner_json):
        try:
            with open_inside(path.parent, path.name) as file:
                mark = load_json(file, path).get("label_watermark")
        except StoreError:
            continue
        if type(mark) is int and mark > found[0]:
            found = mark, str(path.relative_to(run.path))
    return found


def _manifests(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        return []


def check_recording(folder: Path, manifest: Manifest) -> list[str]:
    """What is odd about a closed episode's messages: their number, their stamps."""
    stamps: dict[str, list[int]] = defaultdict(list)
    expected: dict[str, Any] = {}
    try:
        with open_inside(folder, MCAP_NAME) as file:
            for channel, message in read_messages_of(file):
                stamps[channel.topic].append(message.log_time)
                if channel.topic == CAMERAS:
                    expected |= body_of(channel, message.data)
    except (*DAMAGE, StoreError) as error:
        return [f"not a readable MCAP file: {error!r:.200}"]
    said = []
    counts = {topic: len(of_topic) for topic, of_topic in stamps.items()}
    if counts != dict(manifest.counts):
        said.append(f"expected messages {dict(manifest.counts)}, got {counts}")
    for topic, of_topic in stamps.items():
        said += [f"{topic}: {words}" for words in clock_anomalies(of_topic)]
    return said + missing_frames(expected, stamps)


def missing_frames(cameras: Iterable[str], stamps: Mapping[str, Sequence[int]]) -> list[str]:
    """Of `cameras` that were to be recorded, those without frames, and those whose first one came late.

    `stamps` are of each topic, in monotonic ns; an episode lasts as long as its control steps do.
    """
    steps = stamps.get(STEPS) or [stamp for of_topic in stamps.values() for stamp in of_topic]
    begin, end = min(steps, default=0), max(steps, default=0)
    said = []
    for camera in cameras:
        frames = stamps.get(f"{CAMERA}{camera}")
        if not frames:
            said.append(f"camera {camera}: 0 frames in {(end - begin) / SECOND:.1f} s")
        elif frames[0] - begin > GAP_S * SECOND:
            said.append(f"camera {camera}: its first frame is of {(frames[0] - begin) / SECOND:.1f} s after the start")
        elif end - frames[-1] > GAP_S * SECOND:
            said.append(f"camera {camera}: its last frame is of {(end - frames[-1]) / SECOND:.1f} s before the end")
    return said


def clock_anomalies(stamps: list[int]) -> list[str]:
    """What is odd about a topic's stamps (monotonic ns, in the order of recording): going back, a stream's silence."""
    said = []
    back = [(n, before, after) for n, (before, after) in enumerate(pairwise(stamps), start=1) if after < before]
    if back:
        n, before, after = back[0]
        said.append(f"{len(back)} stamps go back, the first at message {n} by {(before - after) / SECOND:.3f} s")
    steps = np.diff(np.array(stamps, dtype=np.float64)) / SECOND
    if len(steps) and 0 < np.median(steps) < PERIODIC_S and steps.max() > GAP_S:
        said.append(f"silent for {steps.max():.1f} s after message {int(steps.argmax())}")
    return said
