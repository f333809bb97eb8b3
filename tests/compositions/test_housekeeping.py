"""`robot-rl runs`, `verify`, `repair` and `label` on a run that is open in its store, as a person meets them."""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from robot_rl.adapters.files import write_weights
from robot_rl.compositions.housekeeping import label_episode, repair_episode, verify_run
from robot_rl.compositions.plan import new_run, policy_of
from robot_rl.compositions.runs import ranges, show_runs, thirds
from robot_rl.errors import ConfigError, LabelConflict, StoreError
from robot_rl.safety.latch import write_latch
from robot_rl.safety.supervisor import Supervision
from robot_rl.store.compute import write_compute
from robot_rl.store.episode import MANIFEST_NAME, MCAP_NAME, EpisodeHeader, EpisodeOutcome
from robot_rl.store.files import write_json
from robot_rl.store.golden import make_golden, write_golden
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue, Observation
from tests.commands import robot_rl
from tests.ordinary_user import mode, ordinary_user, read_only

S, F, D = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


def a_golden(run: RunDirectory) -> None:
    policy = policy_of(run, run.read_info())
    seen = Observation(
        0, {}, np.zeros(7), np.zeros(7), np.array([0.4, 0, 0.3, 1, 0, 0, 0.0]), 0.08, np.zeros(6),
        extra={"bin_pose": np.array([0.5, 0.1, 0.0, 0.3])},
    )  # fmt: skip
    write_golden(run, make_golden(seen, policy))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three labelled episodes, an adapter for each; the run goes on."""
    run, info = new_run(tmp_path / "runs" / "first", "lid_opening", "usr", 3, {})
    store = Store(run)
    for episode, value in enumerate((F, S, S), start=1):
        store.begin(EpisodeHeader(episode, "lid_opening", "usr", "flow", info.spec_hash, 0, 3, episode, "0.1.0"))
        for n in range(4):
            store.write("/steps", n, {"n": n})
        store.end(EpisodeOutcome("success", 4, True, False, True, {"pass": 4}))
        store.add_label(Label(f"e{episode}", episode, value, "ada"))
        manifest = {"version": episode, "through_episode": episode, "label_watermark": episode, "warmup": False}
        for folder in (run.adapters, run.checkpoints):
            write_weights(folder, episode, {"w": np.zeros(3, np.float32)}, manifest)
    a_golden(run)
    write_latch(run.guard_json, Supervision(), "a test")
    write_compute(run, "default", 1.0, 0.0)
    write_json(run.learner_json, {"version": 3, "label_watermark": 3})
    yield store
    store.close()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def history(store: Store, episode: int) -> list[tuple[str, str]]:
    log = LabelLog(store.run.labels)
    try:
        return [(event.label.value.value, event.label.author) for event in log.history(episode)]
    finally:
        log.close()


def test_a_label_by_command_is_in_the_same_log_while_the_run_goes_on(store: Store) -> None:
    done = robot_rl("label", str(store.run.episode(1)), "success", "--author", "bob")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "episode 1: success by bob (revision 4), was failure by ada (revision 1)" in done.stdout
    assert history(store, 1) == [("failure", "ada"), ("success", "bob")]
    assert store.episodes()[0].label is S
    store.undo_label(1, "ada", "u")
    seen = robot_rl("runs", str(store.run.path.parent))
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "first" in seen.stdout
    assert "3 labelled" in seen.stdout


def test_a_correction_may_name_what_it_corrects(store: Store, console: Console) -> None:
    folder = store.run.episode(2)
    label_episode(folder, F, None, 2, console)
    assert history(store, 2)[-1] == ("failure", getpass.getuser())
    with pytest.raises(LabelConflict, match="expected revision 2, but it is 4"):
        label_episode(folder, D, "bob", 2, console)
    label_episode(folder, F, "bob", None, console)
    assert "is failure already" in printed(console)
    assert len(history(store, 2)) == 2


def test_a_correction_says_what_learns_from_it(store: Store, console: Console) -> None:
    label_episode(store.run.episode(2), F, "bob", None, console)
    text = printed(console)
    assert "adapters up to v3 were trained before this" in text
    assert f"`robot-rl run --resume {store.run.path} --episodes 4`" in text
    assert f"`robot-rl train-offline {store.run.path}`" in text
    store.begin(EpisodeHeader(4, "lid_opening", "usr", "flow", "ab" * 32, 0, 3, 4, "0.1.0"))
    store.end(EpisodeOutcome("success", 4, True, False, True, {"pass": 4}))
    label_episode(store.run.episode(4), S, "bob", None, console)
    assert printed(console).removeprefix(text) == "episode 4: success by bob (revision 5)\n"


def test_only_closed_episodes_are_labelled(store: Store, console: Console) -> None:
    store.begin(EpisodeHeader(4, "lid_opening", "usr", "flow", "ab" * 32, 0, 3, 4, "0.1.0"))
    for folder, words in (
        (store.run.episode(4), "there is none"),
        (store.run.partial(4), "expected a closed episode"),
        (store.run.path, "expected an episode's directory"),
    ):
        with pytest.raises(StoreError, match=words):
            label_episode(folder, S, "bob", None, console)


def test_a_label_that_is_none_is_answered_with_the_nearest(store: Store) -> None:
    done = robot_rl("label", str(store.run.episode(1)), "sucess")
    assert done.returncode == 2
    assert "did you mean 'success'? valid: discard, failure, success" in done.stdout


def test_runs_shows_what_was_learnt_from_a_label_corrected_since(store: Store, console: Console) -> None:
    store.add_label(Label("c", 2, F, "bob"))
    (store.run.path.parent / "damaged").mkdir()
    (store.run.path.parent / "damaged" / "run.json").write_text("{")
    assert show_runs(store.run.path.parent, console) is False
    text = printed(console)
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert [line[:5] for line in lines] == [
        ["first", "lid_opening", "3", "0.00", "v3"],
        ["", "usr", "3 labelled", "0.00", ""],
        ["", "", "", "1.00", ""],
    ]
    assert "first: episode 2 is failure by bob now; adapters v2 to v3 were trained on success, and later ones" in text
    assert "damaged cannot be read:" in text


def test_a_label_log_that_is_gone_is_not_an_empty_one(store: Store, console: Console) -> None:
    RunDirectory.create(store.run.path.parent / "new", store.run.read_info())
    store.close()
    for file in store.run.path.glob("labels.sqlite*"):
        file.unlink()
    show_runs(store.run.path.parent, console)
    text = printed(console)
    assert "labels gone" in text
    assert f"first: its label log is gone: put {store.run.labels} back" in text
    assert "0 labelled" in text  # of a run that has just begun none is missing
    assert not store.run.labels.exists()


def test_a_place_without_runs_is_said_to_be_one(tmp_path: Path, console: Console) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        show_runs(tmp_path, console)


def test_verify_ends_with_0_for_a_sound_run_and_with_1_and_a_table_for_another(store: Store) -> None:
    run = store.run
    sound = robot_rl("verify", str(run.path))
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "nothing is wrong with 3 episodes, 6 adapters and checkpoints" in sound.stdout
    os.truncate(run.episode(2) / MCAP_NAME, 100)
    (run.checkpoints / "000003.safetensors").write_bytes(b"cut")
    damaged = robot_rl("verify", str(run.path))
    assert damaged.returncode == 1
    assert "2 findings in 3 episodes" in damaged.stdout
    assert "checkpoints/000003" in damaged.stdout
    assert robot_rl("verify", str(run.path.parent)).returncode == 2


def test_verify_names_all_that_a_resumed_run_would_refuse_and_the_guards_latch(store: Store, console: Console) -> None:
    """Each on its own: one that cannot be read hides none of the others."""
    run = store.run
    assert verify_run(run.path, console) is True, printed(console)
    task = run.task_yaml.read_bytes()
    run.task_yaml.write_bytes(task + b"# changed since\n")
    run.golden.write_bytes(b"cut")
    run.guard_json.write_text("[" * 100_000)
    assert verify_run(run.path, console) is False
    text = " ".join(printed(console).split())
    assert "3 findings in" in text
    assert "the run began with the file of sha256" in text
    assert "the run's golden observation cannot be read" in text
    assert "expected the guard's latch" in text
    run.task_yaml.unlink()
    run.policy.write_bytes(b"")
    run.guard_json.unlink()
    run.guard_json.mkdir()
    done = robot_rl("verify", str(run.path))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "3 findings in" in done.stdout
    for name in ("task.yaml", "policy.safetensors", "guard.json"):
        assert f"│ {name} " in done.stdout


def test_verify_names_weights_that_are_foreign_though_their_sha256_is_right(store: Store, console: Console) -> None:
    body = b"\xff" * 8 + b"no safetensors"
    (store.run.adapters / "000001.safetensors").write_bytes(body)
    path = store.run.adapters / "000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": hashlib.sha256(body).hexdigest()}))
    assert verify_run(store.run.path, console) is False
    assert "adapters/000001" in printed(console)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("golden.json", None, "is gone: the run has had it since the robot first moved"),
        ("guard.json", None, "is gone: the run has had it since the robot first moved"),
        ("compute.json", None, "is gone: the learner has written it"),
        ("compute.json", "{cut", "delete it to have that decided anew"),
        ("learner.json", None, "is gone: the learner has written it"),
        ("learner.json", "[1]", "expected a JSON object"),
        ("policy.json", "[" * 100_000, "expected a policy's manifest"),
        ("adapters/000002.json", None, "has weights and no manifest"),
        ("adapters/000003.json", "[" * 100_000, "expected a manifest and its weights"),
        ("checkpoints/000002.json", None, "has weights and no manifest"),
        ("checkpoints/000003.json", "[" * 100_000, "expected a manifest and its weights"),
    ],
)
def test_verify_names_what_is_missing_or_hostile(
    store: Store, console: Console, name: str, content: str | None, words: str
) -> None:
    path = store.run.path / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert verify_run(store.run.path, console) is False
    text = " ".join(printed(console).split())
    assert words in text
    assert name.removesuffix(".json") in text


def test_a_run_that_has_not_moved_lacks_nothing(store: Store, console: Console, tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "new", "lid_opening", "usr", 3, {})
    assert verify_run(run.path, console) is True, printed(console)


def test_verify_names_links(store: Store, console: Console, tmp_path: Path) -> None:
    for name in ("run.json", "task.yaml", "policy.safetensors", "guard.json", "adapters", "labels.sqlite"):
        path, moved = store.run.path / name, tmp_path / name
        path.rename(moved)
        path.symlink_to(moved)
    (store.run.checkpoints / "000001.json").rename(tmp_path / "c1")
    (store.run.checkpoints / "000001.json").symlink_to(tmp_path / "c1")
    assert verify_run(store.run.path, console) is False
    text = printed(console)
    assert "7 findings" in text
    assert text.count("symbolic link") == 7


def test_what_this_user_may_not_read_is_named_and_hides_nothing_else(store: Store, console: Console) -> None:
    run = store.run
    store.close()
    with mode(run.episode(2), 0), mode(run.adapters, 0), ordinary_user():
        assert verify_run(run.path, console) is False
    text = " ".join(printed(console).split())
    assert "cannot read" in text
    assert "cannot look into" in text
    assert "2 findings in 3 episodes" in text
    with mode(run.episodes, 0), ordinary_user():
        with pytest.raises(StoreError, match="cannot look into"):
            verify_run(run.path, console)
        assert show_runs(run.path.parent, console) is False
    with mode(run.path, 0), ordinary_user(), pytest.raises(StoreError, match="cannot look into"):
        label_episode(run.episode(1), F, "bob", None, console)


def test_a_run_that_cannot_be_written_is_looked_at(store: Store, console: Console) -> None:
    store.close()
    with read_only(store.run.path):
        assert verify_run(store.run.path, console) is True, printed(console)
        assert show_runs(store.run.path.parent, console) is True
        with pytest.raises(StoreError):
            label_episode(store.run.episode(1), S, "bob", None, console)


def test_a_copy_of_an_episode_is_not_labelled(store: Store, console: Console) -> None:
    shutil.copytree(store.run.episode(3), store.run.episode(7))
    with pytest.raises(StoreError, match="its manifest is of episode 3"):
        label_episode(store.run.episode(7), S, "bob", None, console)
    with pytest.raises(ConfigError, match="at most 100 characters, got 101"):
        label_episode(store.run.episode(3), F, "b" * 101, None, console)


def test_repair_ends_with_3_when_something_is_lost_and_says_what(store: Store) -> None:
    folder = store.run.episode(2)
    whole = robot_rl("repair", str(folder))
    assert whole.returncode == 0
    assert "nothing to repair" in whole.stdout
    recording = (folder / MCAP_NAME).read_bytes()
    (folder / MCAP_NAME).write_bytes(recording[: len(recording) // 4])
    cut = (folder / MCAP_NAME).read_bytes()
    lost = robot_rl("repair", str(folder))
    assert lost.returncode == 3, lost.stdout + lost.stderr
    row = next(line for line in lost.stdout.splitlines() if "/steps" in line)
    kept, missing = (int(cell) for cell in row.strip("│").split("│")[1:])
    assert kept + missing == 4
    assert missing > 0
    assert "000002.salvaged.1: nothing in it could be read; the original bytes are kept" in lost.stdout
    assert (folder / MCAP_NAME).read_bytes() == cut
    assert robot_rl("repair", str(store.run.path)).returncode == 2


def test_repair_says_that_a_manifest_was_lost_and_ends_with_3(store: Store) -> None:
    (store.run.episode(2) / MANIFEST_NAME).write_bytes(b"\x00garbage")
    lost = robot_rl("repair", str(store.run.episode(2)))
    assert lost.returncode == 3, lost.stdout + lost.stderr
    assert "lost: the manifest: how the episode ended" in lost.stdout


def test_repair_of_a_whole_abandoned_episode_loses_nothing(store: Store, console: Console) -> None:
    store.begin(EpisodeHeader(4, "lid_opening", "usr", "flow", "ab" * 32, 0, 3, 4, "0.1.0"))
    store.write("/steps", 1, {"n": 1})
    store.begin(EpisodeHeader(5, "lid_opening", "usr", "flow", "ab" * 32, 0, 3, 5, "0.1.0"))
    (folder,) = store.list_incomplete()
    assert repair_episode(folder, console) is True
    assert "000004.salvaged.1" in printed(console)


def test_success_is_shown_by_thirds() -> None:
    assert thirds([]) == []
    assert thirds([True]) == ["1.00"]
    assert thirds([False, True]) == ["0.00", "1.00"]
    assert thirds([False] * 33 + [True, False] * 17 + [True] * 33) == ["0.00", "0.50", "1.00"]


def test_neighbours_are_taken_together() -> None:
    assert ranges([3]) == "v3"
    assert ranges([1, 3, 4, 5, 9, 10]) == "v1, v3 to v5, v9 to v10"
