"""A run's directory, made and taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robot_rl import __version__
from robot_rl.compositions.plan import (
    RunPlan,
    checkpoint_path,
    connect_policy,
    learner_status,
    load_policy,
    new_run,
    open_run,
)
from robot_rl.errors import ConfigError, IntegrityError, SpecMismatch, StoreError
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.files import sha256_file, write_json
from robot_rl.task_files import TASKS_DIR, load_task, task_path
from tests.small_task import write_small_task
from tests.store.examples import SUCCESS, header


def test_a_new_run_has_its_own_copies_and_opens_as_it_was_made(tmp_path: Path) -> None:
    run, info = new_run(tmp_path / "run", "lid_opening", "usr", 7, {"episodes": 5})
    assert run.task_yaml.read_bytes() == (TASKS_DIR / "lid_opening.yaml").read_bytes()
    assert run.policy.read_bytes() == (TASKS_DIR / "lid_opening.safetensors").read_bytes()
    assert run.briefing.startswith("1 when the lid stands nearly upright")
    opened, again, task, policy = open_run(tmp_path / "run")
    assert opened == run
    assert again == info
    assert (info.task, info.method, info.seed, info.code_version) == ("lid_opening", "usr", 7, __version__)
    assert info.arguments["episodes"] == 5
    assert info.arguments["task_sha256"] == sha256_file(run.task_yaml)
    assert policy.spec.hash == info.spec_hash
    plan = RunPlan(run, info, task, policy, 5, auto_label=True, console_port=None)
    assert plan.method == task.method("usr")


def test_a_run_does_not_change_with_the_task_file_it_was_made_from(tmp_path: Path) -> None:
    source = write_small_task(tmp_path)
    new_run(tmp_path / "run", str(source), "usr", 0, {})
    source.write_text("name: spoilt")
    source.with_suffix(".txt").write_text("1 when it flies")
    run, _, task, _ = open_run(tmp_path / "run")
    assert task.name == "small"
    assert run.briefing == ""


def test_a_briefing_that_is_no_text_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    source = write_small_task(tmp_path)
    source.with_suffix(".txt").write_bytes(b"1 when \xff")
    with pytest.raises(ConfigError, match="expected text in UTF-8"):
        new_run(tmp_path / "run", str(source), "usr", 0, {})
    source.with_suffix(".txt").write_text("when " * 1000)
    with pytest.raises(ConfigError, match="at most 2000 characters"):
        new_run(tmp_path / "run", str(source), "usr", 0, {})
    assert not (tmp_path / "run").exists()


def test_a_directory_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(StoreError, match="resume it"):
        new_run(tmp_path / "run", "lid_opening_strict", "dsrl-na", 1, {})
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert load_task(tmp_path / "run" / "task.yaml").name == "lid_opening"


@pytest.mark.parametrize(
    ("task", "method", "hint"), [("lid_openin", "usr", "lid_opening"), ("lid_opening", "us", "usr")]
)
def test_a_mistyped_name_makes_no_directory(tmp_path: Path, task: str, method: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{hint}'"):
        new_run(tmp_path / "run", task, method, 0, {})
    assert not (tmp_path / "run").exists()


def test_a_missing_policy_says_how_to_make_it(tmp_path: Path) -> None:
    for nowhere in ("nowhere.safetensors", "a" * 300, "/"):
        source = write_small_task(tmp_path, policy={"checkpoint": nowhere})
        with pytest.raises(IntegrityError, match=r"robot-rl pretrain .*/small\.yaml"):
            load_policy(load_task(source), source)


def test_a_checkpoint_is_beside_its_task_file_or_where_it_says(tmp_path: Path) -> None:
    task, absolute = load_task("lid_opening"), load_task(write_small_task(tmp_path))
    assert checkpoint_path(task, task_path("lid_opening")) == TASKS_DIR / "lid_opening.safetensors"
    assert checkpoint_path(absolute, tmp_path / "small.yaml") == TASKS_DIR / "lid_opening.safetensors"


def test_another_policy_in_the_run_is_refused(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(TASKS_DIR / f"lid_opening_strict{suffix}", run.policy.with_suffix(suffix))
    with pytest.raises(SpecMismatch, match="put the file back"):
        open_run(run.path)


def test_a_damaged_policy_in_the_run_is_refused(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    content = bytearray(run.policy.read_bytes())
    content[-1] ^= 1
    run.policy.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="sha256"):
        open_run(run.path)


@pytest.mark.parametrize("name", ["episodes", "labels.sqlite", "notes.txt", "policy.safetensors"])
def test_a_directory_that_holds_something_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / name).write_text("mine")
    with pytest.raises(StoreError, match=f"expected a new or an empty directory.*{name}"):
        new_run(path, "lid_opening", "usr", 0, {})
    assert [(entry.name, entry.read_text()) for entry in path.iterdir()] == [(name, "mine")]


def test_a_run_without_its_task_file_says_so(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    run.task_yaml.unlink()
    with pytest.raises(StoreError, match=r"task\.yaml is gone: put the file back"):
        open_run(run.path)


def test_a_run_whose_label_log_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    open_run(run.path)
    EpisodeWriter(run, header(1)).close(SUCCESS)
    run.labels.unlink(missing_ok=True)
    with pytest.raises(StoreError, match="the label log of 1 closed episodes"):
        open_run(run.path)
    assert not run.labels.exists()


def test_local_is_the_policy_of_the_run_itself() -> None:
    policy = load_policy(load_task("lid_opening"), task_path("lid_opening"))
    assert connect_policy("local", policy) is connect_policy(None, policy) is policy


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run"):
        open_run(tmp_path)


# --- the policy that acts -------------------------------------------------------------------------------------------


def test_without_an_endpoint_the_runs_own_policy_acts() -> None:
    local = load_policy(load_task("lid_opening"), task_path("lid_opening"))
    assert connect_policy(None, local) is local


def test_an_endpoint_must_be_one() -> None:
    local = load_policy(load_task("lid_opening"), task_path("lid_opening"))
    with pytest.raises(ConfigError, match=r"tcp://HOST:PORT or ipc://PATH.*'http://x'"):
        connect_policy("http://x", local)


# --- the learner's word ---------------------------------------------------------------------------------------------


def test_the_learners_status_is_its_newest_and_none_before_its_first(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    assert learner_status(run, alive=True) is None
    write_json(run.learner_json, {"updates": 12, "alive": True})
    assert learner_status(run, alive=False) == {"updates": 12, "alive": False}
    run.learner_json.write_text("{cut sho")
    assert learner_status(run, alive=True) is None


def test_a_task_file_that_was_changed_since_the_run_began_is_refused(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", "lid_opening", "usr", 0, {})
    open_run(run.path)
    run.task_yaml.write_text(run.task_yaml.read_text().replace("max_steps: 64", "max_steps: 20"))
    with pytest.raises(SpecMismatch, match="begin a new run"):
        open_run(run.path)


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make"):
        new_run(tmp_path / "file" / "run", "lid_opening", "usr", 0, {})
