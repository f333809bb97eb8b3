"""Manifests that were made to harm, their checksums right: every reader goes on without the episode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from robot_rl.compositions.housekeeping import verify_run
from robot_rl.errors import StoreError
from robot_rl.store.episode import MANIFEST_NAME, read_manifest, read_transitions
from robot_rl.store.overview import overview
from robot_rl.store.packed import stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.training import training_set
from robot_rl.types import Label, LabelValue, canonical_hash
from robot_rl.wire.schemas import to_plain
from robot_rl.wire.values import pack_value, unpack_value
from tests.store.examples import SUCCESS, header, transition

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**300, 1e308]),
    st.sampled_from(["", "../../../etc/passwd", "/dev/zero", "\x1b[2J", "[red]", "\ud800", "000001", "x" * 10_000]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["/transitions", "/../x", "\x00", ""]), st.integers(-1, 10**20), max_size=2),
)


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    for number in (1, 2):
        store.begin(header(number))
        store.write_transition(transition(number, 0))
        store.end(SUCCESS)
        store.add_label(Label(f"e{number}", number, LabelValue.SUCCESS, "ada"))
    yield store
    store.close()


def paths(value: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where each value of the manifest is."""
    found = []
    for key, item in value.items():
        found.append((*prefix, key))
        if isinstance(item, dict):
            found += paths(item, (*prefix, key))
    return found


def put(raw: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    holder: Any = raw
    for key in place[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder[place[-1]] = value


def check_others_go_on(store: Store, raw: dict[str, Any]) -> None:
    """Give episode 1 the manifest `raw` with a right checksum, and use every reader; then give it its own again."""
    run = store.run
    path = run.episode(1) / MANIFEST_NAME
    sound = path.read_bytes()
    raw.pop("checksum", None)
    path.write_text(json.dumps({**raw, "checksum": canonical_hash(raw)}))
    try:
        for read in (read_manifest, read_transitions, lambda _: stored_transitions(run, 1)):
            with suppress(StoreError):
                read(run.episode(1))
        listed = store.episodes()
        assert 2 in [row.episode for row in listed]
        unpack_value(pack_value({"value": to_plain(listed, [])}))
        assert 2 in [episode for episode, _ in training_set(run, store._log.current()).labelled]
        seen = overview(run.path)
        assert seen.complete + seen.incomplete + seen.unreadable == 2
        verify_run(run.path, Console(quiet=True))
    finally:
        path.write_bytes(sound)
        (run.episode(1) / "transitions.packed").unlink(missing_ok=True)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, -1, "../../../etc/passwd", "\ud800"])
def test_a_hostile_value_anywhere_costs_its_episode_at_most(store: Store, value: Any) -> None:
    sound = (store.run.episode(1) / MANIFEST_NAME).read_bytes()
    for place in paths(json.loads(sound)):
        raw = json.loads(sound)
        put(raw, place, value)
        check_others_go_on(store, raw)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_several_hostile_values_cost_their_episode_at_most(store: Store, data: st.DataObject) -> None:
    raw = json.loads((store.run.episode(1) / MANIFEST_NAME).read_bytes())
    for place in data.draw(st.lists(st.sampled_from(paths(raw)), min_size=1, max_size=3)):
        put(raw, place, data.draw(VALUES))
    check_others_go_on(store, raw)
