"""Other people's environments (`benchmarks.gym`), on a small one of the tests' own."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from benchmarks.gym import __main__ as command
from benchmarks.gym import cells, page
from benchmarks.gym.cells import Cell, run_cell, world_of
from benchmarks.gym.checks import require_usable
from benchmarks.gym.conditions import _holds_mujoco, _plain, conditions, own_files
from benchmarks.gym.experts import cells_of, next_cell, pick_and_place, push
from benchmarks.gym.finding import imperfect
from benchmarks.gym.judging import at_bound, carried_out, motion
from benchmarks.gym.options import criterion
from benchmarks.gym.policy import MOST, Demonstrations, Scaling, StatePolicy
from benchmarks.gym.settings import SETTINGS, SHORT_POLICY, Frozen, settings_of
from benchmarks.gym.summary import moves
from benchmarks.gym.tasks import GymTask, Imperfection, InHalves, source_of, space_of
from benchmarks.gym.world import Episodes, GymWorld, State, demonstrate
from benchmarks.studies.lockstep import Played, base_adapter, play, trials
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import ConfigError
from tests.point_env import ALIVE, BLIND, FAULTY, FLAT, ID, LATE, PAID, REACHED, WIDE

POINT = GymTask(ID, Imperfection(12, noise=0.1), max_steps=24, expert="tests.point_env:expert")


FAULTY_BY = {name: ["--env", env, "--expert", "tests.point_env:expert"] for name, env in FAULTY.items()}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gym")


@pytest.fixture(scope="module")
def world(out: Path) -> GymWorld:
    return world_of(POINT, SHORT_POLICY, out)


def test_a_start_is_a_function_of_its_seed_and_an_episode_ends_where_it_has_succeeded(world: GymWorld) -> None:
    start = [world.start(np.random.default_rng(seed)).observation for seed in (3, 3, 4)]
    assert np.array_equal(start[0], start[1])
    assert not np.array_equal(start[0], start[2])
    state = world.start(np.random.default_rng(3))
    towards = np.sign(state.observation[0] - state.observation[1])
    chunk = np.zeros((8, 2), np.float32)
    chunk[:, 0] = 0.4 * towards
    while world.outcome(state) is None:
        state = world.step(state, chunk)
    assert world.outcome(state) is True
    assert 0 < state.steps < 24
    assert abs(state.observation[0] - state.observation[1]) < 0.05
    state = world.start(np.random.default_rng(3))
    chunk[:, 0] *= -1.0
    while world.outcome(state) is None:
        state = world.step(state, chunk)
    assert (world.outcome(state), state.steps) == (False, 24)


def test_demonstrations_are_what_was_carried_out_in_episodes_that_succeeded() -> None:
    wrong = replace(POINT, imperfection=Imperfection(6, noise=0.05, bias=((1, 0.3),)))
    demos = demonstrate(wrong, seed=0)
    assert np.unique(demos.episode).tolist() == list(range(6))
    assert np.abs(demos.action).max() <= 1.0
    assert demos.action[:, 1].mean() == pytest.approx(0.3, abs=0.05)
    assert demos.action[:, 1].std() == pytest.approx(0.05, rel=0.5)
    assert str(wrong.imperfection) == "6 episodes, noise 0.05, action 1 off by +0.3"
    with pytest.raises(ConfigError, match="the expert succeeded"):
        demonstrate(replace(POINT, expert="tests.point_env:lost", imperfection=Imperfection(9)), seed=0)


def test_every_state_has_a_chunk_of_its_own_episode() -> None:
    demos = Demonstrations(np.arange(6.0)[:, None], np.arange(6.0)[:, None], np.repeat([0, 1], [4, 2]))
    states, chunks = demos.windows(3)
    assert states[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert chunks[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3], [3, 3, 3], [4, 5, 5], [5, 5, 5]]


def test_a_feature_keeps_what_the_demonstrations_had_and_is_bounded_beyond() -> None:
    lifted = np.repeat([0.0, 1.0], [999, 1])  # 31 standard deviations from where it nearly always lay
    states = np.stack([lifted, np.linspace(-1.0, 1.0, 1000), np.zeros(1000)], axis=1)
    scaling = Scaling.of(states)
    features = scaling(states)
    assert np.allclose(features * scaling.scale + scaling.mean, states, atol=1e-5)
    beyond = scaling(np.full((1, 3), 1e6))[0]
    assert beyond.tolist() == pytest.approx([features[:, 0].max(), MOST, MOST])


def test_the_policy_that_was_kept_is_the_one_that_was_made(world: GymWorld, out: Path) -> None:
    (path,) = out.glob("*/policy.safetensors")
    space = space_of(POINT.make())
    again = StatePolicy.load(path, SHORT_POLICY, space, 1.0)
    assert again.spec == world.policy.spec
    seen = [world.observe(world.start(np.random.default_rng(seed))) for seed in range(3)]
    first, second = world.policy.encode(seen), again.encode(seen)
    assert np.array_equal(first.features, second.features)
    assert first.z is not None
    assert second.z is not None
    assert np.array_equal(first.z, second.z)
    noise = np.random.default_rng(0).standard_normal((3, *again.spec.noise_shape), dtype=np.float32)
    for latent in (None, first.z):
        chunks = again.decode(first, noise, latent)
        assert np.array_equal(chunks, world.policy.decode(second, noise, latent))
        assert chunks.shape == (3, 8, 2)
        assert np.abs(chunks).max() <= 1.0


def test_the_same_trial_is_the_same_episode(world: GymWorld) -> None:
    first, second = (trials(world, base_adapter(world), 3, seed=1) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.executed, other.executed)


def test_motion_is_that_of_the_actions_that_were_carried_out(world: GymWorld) -> None:
    one = play(world, base_adapter(world), np.random.default_rng(0), explore=False)
    moving = one.transitions[0].executed_chunk.copy()
    moving[:] = [[3.0, 4.0]]
    moving[::2] = 0.0
    moving[6:] = 1e6  # behind the end
    cut = carried_out(Played([replace(one.transitions[0], executed_chunk=moving)], True, State(np.zeros(2), steps=6)))
    assert motion(cut) == pytest.approx((2.5, 5.0))
    assert motion(cut[:, :1]) == pytest.approx((1.5, 3.0))
    assert motion(cut[:1]) is None


def test_a_step_is_at_the_bound_where_any_entry_is() -> None:
    assert at_bound(np.array([[0.5, 1.0], [-1.0, -1.0], [0.9, -0.9], [0.0, 0.0]])) == 0.5


def test_motion_is_compared_on_starts_on_which_both_succeed() -> None:
    """Of seeds that both have, on the same frozen policy."""

    def cell(seed: int, policy: str, exploring: list[object], base: list[object]) -> dict[str, object]:
        return {"seed": seed, "policy": policy, "exploring_motion": exploring, "base_motion": base}

    ours = [cell(0, "a", [(1.0, 3.0), None, (2.0, 1.0), (9.0, 9.0)], [(2.0, 2.0), (8.0, 8.0), (4.0, 2.0), None])]
    assert moves(ours, ours, "base_motion").shares == {"velocity": [0.5], "acceleration": [1.0]}
    theirs = [cell(0, "a", [(4.0, 2.0), (1.0, 1.0), None, None], []), cell(1, "a", [(7.0, 7.0)] * 4, [])]
    one = moves(ours, theirs, "exploring_motion")
    assert (one.starts, one.shares) == ({0: 1}, {"velocity": [0.25], "acceleration": [1.5]})
    assert (one.change("velocity"), one.lower("velocity")) == ("-75 %", False)  # one seed tells nothing
    elsewhere = [cell(0, "b", [(4.0, 2.0)] * 4, [])]
    assert moves(ours, elsewhere, "exploring_motion").mean("velocity") is None
    assert not moves([{"seed": 0, "policy": "a"}], ours, "exploring_motion").starts  # a record from before
    many = [
        cell(seed, "a", [(share, share)] * (1 + 9 * seed), [(1.0, 1.0)] * 10) for seed, share in ((0, 0.9), (1, 0.8))
    ]
    several = moves(many, many, "base_motion")
    assert several.starts == {0: 1, 1: 10}
    assert several.mean("velocity") == pytest.approx(0.85)  # a seed counts for one, however many starts it has
    assert not several.lower("velocity")
    assert moves(many[:1] * 1 + [{**many[0], "seed": 2}], [*many, {**many[0], "seed": 2}], "base_motion").lower(
        "velocity"
    )


@pytest.mark.parametrize("method", tuple(SETTINGS))
def test_the_settings_of_every_method_fit_any_action_space(world: GymWorld, method: str) -> None:
    z = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    config = settings_of(method, Frozen(world.policy.spec.action_space, np.array([0.4, 8.0]), z))
    SteeringLayout(world.policy.spec, config)
    if method == "zprl":
        assert config.latent_scale == pytest.approx(0.6 / 0.628, rel=0.1)
    if method.startswith("policy-decorator"):
        assert config.residual_scale == pytest.approx((0.4 if method.endswith(":paper") else 0.1, 1.0))
        assert config.residual_layout == ("constant" if method == "policy-decorator" else "per_step")


def test_actions_are_in_halves_of_their_range_whatever_the_environments_units_are() -> None:
    """The same environment, from 0 to 512 with its middle at 256: the same demonstrations."""
    wide = replace(POINT, env=WIDE, expert="tests.point_env:wide_expert")
    env = wide.make()
    assert (space_of(env).low, space_of(env).high) == ((-1.0, -1.0), (1.0, 1.0))
    assert wide.make_expert(env)(np.array([0.1, 0.02])) == pytest.approx([0.4, 0.0])
    with pytest.raises(ConfigError, match="expected an action of 2 finite numbers"):
        replace(wide, expert="tests.point_env:scalar").make_expert(env)(np.zeros(2))
    assert env.env.action_space.high.tolist() == [512.0, 512.0]  # which the expert's factory is given
    ours, theirs = demonstrate(POINT, seed=0), demonstrate(wide, seed=0)
    assert np.allclose(ours.state, theirs.state, atol=1e-5)
    assert np.allclose(ours.action, theirs.action, atol=1e-5)


def test_an_action_of_one_is_the_environments_bound_and_no_more() -> None:
    box = gymnasium.spaces.Box(np.array([-0.3, -1.3], np.float32), np.array([0.9, 0.7], np.float32))
    plain = POINT.make().env
    plain.action_space = box
    env = InHalves(plain, ID)
    for action in np.array([[1.0, 1.0], [-1.0, -1.0], [1.0000001, -3.0]], np.float32):
        assert box.contains(env.action(action))
    assert np.allclose(env.action(np.zeros(2, np.float32)), [0.3, -0.3])


def test_an_expert_that_writes_into_what_it_is_given_spoils_nothing() -> None:
    spoilt = demonstrate(replace(POINT, expert="tests.point_env:scribbler"), seed=0)
    assert np.array_equal(spoilt.state, demonstrate(POINT, seed=0).state)


def test_other_demonstrations_are_another_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where it is the expert's own file that has changed."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shown_by.py").write_text("from tests.point_env import expert\n")
    task = replace(POINT, expert="shown_by:expert")
    first = Cell(task, "usr", 0, 3, 2, SHORT_POLICY).name
    (tmp_path / "shown_by.py").write_text("from tests.point_env import lost as expert\n")
    assert Cell(task, "usr", 0, 3, 2, SHORT_POLICY).name == first  # what was imported stays, and so does its name
    source_of.cache_clear()
    assert Cell(task, "usr", 0, 3, 2, SHORT_POLICY).name != first
    (tmp_path / "shown_by.py").write_text("from tests.point_env import expert  # a word\n")
    source_of.cache_clear()
    assert Cell(task, "usr", 0, 3, 2, SHORT_POLICY).name == first


@pytest.mark.parametrize(
    ("said", "success"),
    [(True, True), (np.bool_(False), False), (1.0, True), (np.array([0]), False), (np.float32(1), True)],
)
def test_a_success_is_a_yes_or_a_no(said: object, success: bool) -> None:
    assert POINT.succeeded(False, {"success": said}) is success


@pytest.mark.parametrize("said", ["False", -0.3, float("nan"), np.array([1, 0]), None, 2])
def test_what_is_neither_yes_nor_no_is_refused(said: object) -> None:
    with pytest.raises(ConfigError, match="--success success: expected true or false"):
        POINT.succeeded(True, {"success": said})


def test_an_environment_that_says_it_at_the_end_alone_is_believed_there() -> None:
    late = replace(POINT, env=LATE)
    assert demonstrate(late, seed=0).episode.max() == 11
    episodes = Episodes(late, late.make())
    state = episodes.start(np.random.default_rng(0))
    while not state.over:
        state = episodes.step(state, np.zeros(2))
    assert (state.steps, state.success, episodes.said) == (24, False, False)  # a failure, of which it says nothing
    with pytest.raises(ConfigError, match=r"in 10 episodes of its expert its info never said 'solved'; valid: success"):
        demonstrate(replace(late, success="solved"), seed=0)


def test_an_episode_is_as_long_as_the_environment_says() -> None:
    task = GymTask("MountainCarContinuous-v0", success="terminated")
    assert task.steps_of(task.make()) == 999
    shorter = replace(task, max_steps=50)
    assert shorter.steps_of(shorter.make()) == 50
    assert replace(POINT, max_steps=None).steps_of(POINT.make()) == 24  # registered with it here
    longer = replace(task, max_steps=2000).make()
    longer.reset(seed=0)
    assert not any(longer.step(np.zeros(1))[3] for _ in range(1500))


def test_a_cell_is_done_once_and_a_new_record_takes_the_old_one_s_place(
    out: Path, world: GymWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "records")
    cell = Cell(POINT, "zprl", 0, 3, 2, SHORT_POLICY)
    done = []
    (tmp_path / "records").mkdir()
    old = tmp_path / "records" / f"{cell.kind}-{'0' * 12}.json"
    old.write_text("{}")
    result = run_cell(cell, out, lambda stage, step, steps, loss: done.append((stage, step, steps)), record=True)
    assert done[-3:] == [("zprl, seed 0", number, 3) for number in (1, 2, 3)]
    assert [path.name for path in (tmp_path / "records").iterdir()] == [f"{cell.name}.json"]
    monkeypatch.setattr(cells, "train_and_judge", lambda *_: pytest.fail("trained again"))
    assert run_cell(cell, out) == result
    with monkeypatch.context() as other:
        other.setattr(cells, "conditions", lambda task: {"simulators": {"mujoco": "0.1"}})
        other.setattr(cells, "train_and_judge", lambda *_: {"again": True})
        assert run_cell(cell, tmp_path)["again"]
    assert result["policy"] == world.policy.spec.policy_id
    assert len(result["curve"]) == 3
    assert result["imperfection"] == "12 episodes, noise 0.1"
    assert result["max_steps"] == 24
    assert result["simulators"] == {"gymnasium": gymnasium.__version__}
    assert len(result["exploring_motion"]) == 1


def test_the_command_ends_with_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--env", ID, "--expert", "tests.point_env:expert", "--max-steps", "24", "--out", str(tmp_path), "--short"]
    assert command.main([*wanted, "--method", "usr"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 <= figures["robot_rl_tests_point_v0_usr_success_mean"] <= 1
    assert figures["robot_rl_tests_point_v0_usr_success_half_width_95"] is None  # one seed has no interval
    assert (tmp_path / "gym.png").read_bytes().startswith(b"\x89PNG")
    more = ["--seeds", "2", "--episodes", "3", "--trials", "2"]
    assert command.main([*wanted, *more, "--method", "policy-decorator:per-step", "--method", "usr"] * 2) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for method in ("usr", "policy_decorator_per_step"):  # asked for twice, and made once
        assert len(figures[f"robot_rl_tests_point_v0_{method}_success_seeds"]) == 2
    assert command.main([*wanted, "--policy-only"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["robot_rl_tests_point_v0_trials"] == 5


def test_it_is_looked_for_how_few_demonstrations_leave_something_to_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "POLICY", SHORT_POLICY)
    wanted = ["--env", ID, "--expert", "tests.point_env:expert", "--max-steps", "24", "--out", str(tmp_path)]
    assert command.main([*wanted, "--policy-only"]) == 0
    said = capsys.readouterr().out
    looks = {int(number): int(rate) / 100 for rate, number in re.findall(r"succeeds in (\d+)% by (\d+) dem", said)}
    figures = json.loads(said.splitlines()[-1])
    taken = figures["robot_rl_tests_point_v0_imperfection"]
    assert next(iter(looks)) == 25
    success = looks[int(taken.split()[0])]  # which number it is depends on the processor
    assert figures["robot_rl_tests_point_v0_base_success"] == success
    assert 0.3 <= success <= 0.6 or not any(0.3 <= rate <= 0.6 for rate in looks.values())
    with monkeypatch.context() as once:
        once.setattr(cells, "play_trials", None)  # what was looked at is not played again
        assert command.main([*wanted, "--policy-only"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1]) == figures
    cell = ["--method", "usr", "--seeds", "1", "--episodes", "2", "--trials", "2"]
    assert command.main([*wanted, *cell]) == 0
    (trained,) = tmp_path.glob("*-usr-*.json")
    assert json.loads(trained.read_bytes())["imperfection"] == taken
    assert capsys.readouterr().out.count("the frozen policy succeeds in") == len(looks)
    assert command.main([*wanted, "--policy-only", "--demonstrations", "3", "--trials", "2"]) == 0
    assert "the frozen policy succeeds in" not in capsys.readouterr().out  # it was not looked for


@pytest.mark.parametrize(
    ("success", "looked_at", "taken"),
    [
        ({25: 0.45}, [25], 25),
        ({25: 0.9, 10: 0.6}, [25, 10], 10),
        ({25: 0.1, 50: 0.2, 100: 0.3}, [25, 50, 100], 100),
        ({25: 0.9, 10: 0.1, 16: 0.7, 13: 0.5}, [25, 10, 16, 13], 13),
        (
            {25: 0.9, 10: 0.1, 16: 0.2, 20: 0.28},
            [25, 10, 16, 20],
            20,
        ),  # falls at once; between 20 and 25 none is looked at
        ({25: 1.0, 10: 1.0, 4: 0.95, 1: 0.03, 2: 0.88, 3: 0.95}, [25, 10, 4, 1, 2], 2),  # 0.03 is nearer, and useless
        ({25: 0.05, 50: 0.02, 100: 0.0, 200: 0.0}, [25, 50, 100, 200], 25),
        ({25: 1.0, 10: 0.91, 4: 0.9, 1: 0.91}, [25, 10, 4, 1], 4),
        ({25: 1.0, 10: 0.9, 4: 0.8, 1: 0.7}, [25, 10, 4, 1], 1),
        ({25: 0.0, 50: 0.0, 100: 0.1, 200: 0.2}, [25, 50, 100, 200], 200),
        ({25: 0.65, 10: 0.75, 4: 0.1, 6: 0.8, 5: 0.7}, [25, 10, 4, 6, 5], 25),  # more are not always better
        ({25: 1.0, 10: 1.0, 4: 1.0, 1: 0.91}, [25, 10, 4, 1], "worse by --noise or --bias"),
        ({25: 0.04, 50: 0.0, 100: 0.0, 200: 0.0}, [25, 50, 100, 200], "--max-steps, more --demonstrations"),
        ({25: 1.0, 10: 0.02, 16: 0.0, 20: 0.0}, [25, 10, 16, 20], "a number by --demonstrations"),
        ({25: 0.12}, [25, 50], 25),  # the expert does not manage 50
        ({}, [25], "no more than that"),
    ],
)
def test_the_number_taken_is_the_one_that_comes_nearest(
    success: dict[int, float], looked_at: list[int], taken: int | str
) -> None:
    looks: list[int] = []
    said: list[str] = []

    def judge(task: GymTask) -> float:
        looks.append(task.imperfection.episodes)
        if looks[-1] not in success:
            raise ConfigError("the expert manages no more than that")
        return success[looks[-1]]

    noisy = replace(POINT, imperfection=Imperfection(noise=0.2))
    if isinstance(taken, str):
        with pytest.raises(ConfigError, match=taken):
            imperfect(noisy, judge, said.append)
    else:
        assert imperfect(noisy, judge, said.append).imperfection == Imperfection(taken, noise=0.2)
        assert len(said) == len(looked_at) + (not 0.3 <= success[taken] <= 0.6)
    assert looks == looked_at


def test_damage_is_named_and_an_interruption_is_no_accident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["--env", ID, "--expert", "tests.point_env:expert", "--max-steps", "24", "--out", str(tmp_path), "--short"]
    with monkeypatch.context() as stopped:
        stopped.setattr(cells, "train_and_judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command.main([*wanted, "--method", "usr"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert command.main([*wanted, "--method", "usr"]) == 0
    (cell,), (policy,) = tmp_path.glob("*.json"), tmp_path.glob("*/policy.safetensors")
    lacking = json.dumps({k: v for k, v in json.loads(cell.read_bytes()).items() if k != "success"}).encode()
    for damage in (b"", b"[]", b"{}", lacking, json.dumps({**json.loads(cell.read_bytes()), "seed": 7}).encode()):
        cell.write_bytes(damage)
        assert command.main([*wanted, "--method", "usr"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert cell.name in said
        assert "remove it, and it is made again" in said
    cell.unlink()
    policy.write_bytes(policy.read_bytes()[:100])
    assert command.main([*wanted, "--method", "usr"]) == 2
    assert "policy.safetensors is damaged" in " ".join(capsys.readouterr().err.split())


REGISTERS = """
import gymnasium
high = {"high": (%s, 1.0)}
gymnasium.register("robot_rl_tests/Own-v0", entry_point="own_env.envs:Own", max_episode_steps=24, kwargs=high)
"""


def test_a_cell_of_an_environment_of_ones_own_is_of_its_package_and_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what changed is neither the module that registers it nor the one that it is made in."""
    (tmp_path / "own_env" / "envs").mkdir(parents=True)
    implementation = tmp_path / "own_env" / "envs" / "implementation.py"
    implementation.write_text("from tests.point_env import PointEnv as Own\n")
    (tmp_path / "own_env" / "envs" / "__init__.py").write_text("from own_env.envs.implementation import Own\n")
    (tmp_path / "own_env" / "__init__.py").write_text(REGISTERS % 1.0)
    monkeypatch.syspath_prepend(tmp_path)
    own = replace(POINT, env="own_env:robot_rl_tests/Own-v0")

    def environment() -> object:
        conditions.cache_clear()
        return conditions(own)["environment"]

    found = [environment(), environment()]
    assert found[0] == found[1]
    implementation.write_text("from tests.point_env import PointEnv as Own  # other\n")
    found.append(environment())
    (tmp_path / "own_env" / "gains.json").write_text("[1]")
    found.append(environment())
    implementation.write_text("from tests.point_env import PointEnv as Own\nimport own_dynamics\n")
    (tmp_path / "own_dynamics.py").write_text("GAIN = 0.1\n")
    found.append(environment())
    (tmp_path / "own_dynamics.py").write_text("GAIN = -0.1\n")
    found.append(environment())
    kwargs = gymnasium.registry["robot_rl_tests/Own-v0"].kwargs
    kwargs["high"] = np.ones(3000)[:2] * 2
    found.append(environment())
    assert len(set(found)) == 6
    assert "environment" not in conditions(GymTask("Pendulum-v1"))  # its distribution's version counts


def test_how_an_environment_is_registered_counts_whole_and_alike_in_every_process() -> None:
    long, other = np.zeros(3000), np.zeros(3000)
    other[1500] = 1.0
    assert repr(long) == repr(other)
    assert _plain({"a": long}) != _plain({"a": other})
    assert _plain({"a": {"x", "y", "z"}}) == _plain({"a": {"z", "y", "x"}})
    assert _plain([object()]) == _plain([object()])
    assert own_files(["__main__", "numpy", "json", "no_such_package"]) == []


def test_success_may_be_a_return_or_a_number() -> None:
    """Of an environment whose info never says success: MuJoCo's locomotion is so."""
    with pytest.raises(ConfigError, match=r"never said 'success'; valid: far.*return>=300"):
        demonstrate(replace(POINT, env=PAID), seed=0)
    paid = replace(POINT, env=PAID, success="return>=2")
    by_return = Episodes(paid, paid.make())
    act, rewards = paid.make_expert(paid.make()), 0
    for seed in (0, 1):  # the sum begins anew with each episode
        state, rewards = by_return.start(np.random.default_rng(seed)), 0
        while not (state.success or state.over):
            assert rewards < 2
            state = by_return.step(state, act(state.observation))
            rewards += abs(state.observation[0] - state.observation[1]) < REACHED
        assert (state.success, rewards) == (True, 2)
    assert demonstrate(replace(paid, imperfection=Imperfection(2)), seed=0).episode.max() == 1
    far = replace(POINT, success="far>=0.5")
    assert far.succeeded(False, {"far": 0.5}) is True
    assert far.succeeded(False, {"far": np.float32(0.4)}) is False
    assert far.succeeded(False, {"far": float("nan")}) is False
    assert far.succeeded(False, {}) is None
    with pytest.raises(ConfigError, match=r"--success far>=0\.5: expected a number"):
        far.succeeded(False, {"far": "much"})


@pytest.mark.parametrize("said", ["return", ">=3", "return>=much", "return>=inf", "far>=nan", "return=>3", "return>3"])
def test_a_success_that_cannot_be_judged_is_refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--env", PAID, "--success", said])
    assert "expected KEY, or KEY>=NUMBER as return>=300" in capsys.readouterr().err


def test_a_return_that_nothing_earns_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of rewards that are negative the first is the largest sum."""
    with pytest.raises(SystemExit):
        command.main(["--env", PAID, "--success", "return>=-200"])
    assert "expected a number above 0" in capsys.readouterr().err
    assert criterion(" return >= 3 ") == "return>=3"
    wanted = ["--env", ALIVE, "--expert", "tests.point_env:expert", "--out", str(tmp_path), "--success", "return>=0.5"]
    assert command.main(wanted) == 2
    assert "to ask for more than one step that does nothing gives" in " ".join(capsys.readouterr().err.split())
    require_usable(replace(POINT, env=PAID, success="returned"))  # a key of the environment's own


def test_mujoco_below_the_surface_counts() -> None:
    class Maze(gymnasium.Env[int, int]):
        def __init__(self, inner: object) -> None:
            self.inner = inner

    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    assert _holds_mujoco(Maze(Maze(model)))
    empty = Maze(None)
    empty.inner = Maze(empty)  # each has the other
    assert not _holds_mujoco(empty)


def test_a_picture_that_cannot_be_written_costs_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gym.png").mkdir()
    wanted = ["--env", ID, "--expert", "tests.point_env:expert", "--max-steps", "24", "--out", str(tmp_path), "--quick"]
    assert command.main([*wanted, "--method", "usr", "--episodes", "3", "--trials", "2"]) == 0
    said = capsys.readouterr().out
    assert "no curves" in said
    assert "robot_rl_tests_point_v0_usr_success_mean" in json.loads(said.splitlines()[-1])


def test_what_is_worse_is_said_by_its_interval() -> None:
    def seeds(*success: float) -> list[dict[str, float]]:
        return [{"success": one, "base_success": 0.5} for one in success]

    assert page._helped({"zprl": seeds(0.3, 0.35, 0.4, 0.35, 0.3), "usr": seeds(0.1, 0.6, 0.4, 0.6, 0.55)}) == (
        "better than the frozen policy in 4 or more of 5 seeds: none; worse, as far as the seeds can tell: `zprl` "
        "(-0.16 +- 0.05)"
    )
    none = [{"env": "Own-v0", "method": "usr", **one} for one in seeds(0.5, 0.5, 0.6, 0.6, 0.4)]
    (bullet,) = page._of_no_help(none)
    assert "does not hold on `Own-v0`: `usr` +0.02 +- 0.10" in bullet
    helped = [{"env": "Own-v0", "method": "zprl", **one} for one in seeds(0.6, 0.6, 0.6, 0.6)]
    assert page._of_no_help([*none, *helped]) == page._of_no_help(none[:3]) == []
    assert "worse" not in page._helped({"zprl": seeds(0.1, 0.5, 0.5, 0.5), "usr": seeds(0.6, 0.6, 0.6, 0.7, 0.6)})


def test_the_page_says_what_is_on_record(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "records")
    assert page.section(tmp_path, lambda table: []) == []
    for method, success, speed in (("zprl", 0.9, 0.7), ("policy-decorator", 0.4, 1.0)):
        for seed in range(4):
            cell = Cell(POINT, method, seed, 3, 2, SHORT_POLICY)
            result = run_cell(Cell(POINT, "zprl", 0, 3, 2, SHORT_POLICY), out)
            made_up = {"method": method, "seed": seed, "success": success, "base_success": 0.5}
            made_up["policy"] = f"flow-{seed // 2}"
            moving = {"exploring_motion": [[speed, speed / 2], None], "base_at_bound": None if seed else 0.625}
            if method == "policy-decorator" and seed == 3:
                del result["base_at_bound"]  # a record from before
                moving, made_up["success"] = {"exploring_motion": []}, 0.0
            (tmp_path / "records").mkdir(exist_ok=True)
            (tmp_path / "records" / f"{cell.name}.json").write_text(json.dumps({**result, **made_up, **moving}))
    text = "\n".join(page.section(tmp_path, lambda table: [str(table.row_count)]))
    assert "in 4 or more of 5 seeds: `zprl` (4 of 4); not run, by seed: `usr` 0, 1, 2, 3, 4;" in text
    assert "`policy-decorator` 4; `policy-decorator:per-step` 0, 1, 2, 3, 4; `zprl` 4; the frozen policy asks" in text
    assert "its cells are of 2 frozen policies" in text
    assert "; the frozen policy asks for all that the range allows in 62 % of its steps, where it succeeds" in text
    assert "`policy-decorator`: velocity -30 +- 0 %, acceleration -30 +- 0 %, at success 0.90 and 0.40" in text
    assert "; starts (seed): 1 (0), 1 (1), 1 (2). It holds: velocity and acceleration are lower" in text
    assert page.not_reproduced(page.recorded()) == []
    assert "Why it need not be so" not in text
    again = (
        f"Made by other code or settings than are here now, and not again since: `{ID}` policy-decorator, `{ID}` zprl."
    )
    assert again in text  # with another policy's settings
    assert (tmp_path / "results_gym.png").exists()
    first = [one for one in page.recorded() if one["seed"] == 0]
    (few,) = page.said(first)
    assert (
        "of too few seeds to say what helps; better than the frozen policy: `policy-decorator` 0 of 1, `zprl` 1" in few
    )
    assert page.gentler(first) == []  # of one seed nothing can be told
    slower = [{**one, "success": 0.2} if one["method"] == "zprl" else one for one in page.recorded()]
    assert "It holds in part: velocity and acceleration are lower" in str(page.gentler(slower)[0])
    assert "at less success" in str(page.gentler(slower)[0])
    of_no_help, bullet = page.not_reproduced(slower)
    assert f"does not hold on `{ID}`: " in of_no_help
    assert "in 1 comparison with Policy Decorator: holds in part in 1" in bullet
    by_less = [
        {**one, "exploring_motion": [[0.98, 0.48], None]} if one["method"] == "zprl" else one for one in page.recorded()
    ]
    assert "It holds in part: velocity and acceleration are lower" in str(page.gentler(by_less)[0])  # by 2 % and 4 %
    moved = [{**one, "base_motion": [[2.0, 0.25], None]} for one in slower]
    assert "constant over a chunk, which is this product's default, has 0.50 to 0.50 and 2.00 to 2.00" in " ".join(
        page._motion(moved)
    )
    record = tmp_path / "records" / f"{Cell(POINT, 'zprl', 0, 3, 2, SHORT_POLICY).name}.json"
    whole = json.loads(record.read_bytes())
    for damage in ({"curve": whole["curve"][:2]}, {"seed": 1}, {"success": 7.5}, {"env": "Other-v0"}):
        record.write_text(json.dumps({**whole, **damage}))
        with pytest.raises(ConfigError, match=r"zprl-0-3x2.*expected a record"):
            page.recorded()
    for name in ("policy", "imperfection"):
        record.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        with pytest.raises(ConfigError, match=f"expected {name} in it"):
            page.recorded()


@pytest.mark.filterwarnings("ignore::UserWarning")  # gymnasium's own, of such spaces and observations
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["--env", "Nowhere-v0"], "Nowhere"),
        (["--env", "CartPole-v1"], "expected actions that are real numbers between bounds"),
        (["--env", ID], "name an expert"),
        (["--env", ID, "--expert", "tests.point_env:nobody"], "expected MODULE:FACTORY"),
        (["--env", ID, "--expert", "tests.point_env:expert", "--success", "sucess"], "did you mean 'success'"),
        (["--env", ID, "--expert", "tests.point_env:noone"], "cannot be asked: None"),
        (["--env", ID, "--expert", "tests.point_env:raiser"], "failed where it was asked for an action; ValueError"),
        (["--env", ID, "--expert", "tests.point_env:scalar"], "expected an action of 2 finite numbers"),
        (["--env", ID, "--expert", "nomodule:x"], "--expert nomodule:x: expected MODULE:FACTORY"),
        (["--env", ID, "--expert", "os.path.nowhere:x"], "expected MODULE:FACTORY"),
        (["--env", ID, "--expert", "broken_expert:x"], "SyntaxError"),
        (["--env", "no_such_module:Foo-v0"], "cannot be made; ModuleNotFoundError"),
        (["--env", "box-close-v3"], "Meta-World's are Meta-World/NAME"),
        (["--env", BLIND, "--expert", "tests.point_env:expert"], "expected observations that are finite"),
        (["--env", FLAT], "expected actions that are numbers between bounds"),
        ([*FAULTY_BY["Huge"]], "expected actions that are numbers between bounds"),
        ([*FAULTY_BY["Raises"]], "failed in its step; RuntimeError: the simulator is gone"),
        ([*FAULTY_BY["Resets"]], "failed in its reset; RuntimeError: no simulator"),
        ([*FAULTY_BY["Mute"]], "failed in its step; TypeError"),
        ([*FAULTY_BY["Short"]], "failed in its step; ValueError"),
        ([*FAULTY_BY["Unseeded"]], "expected the same start for the same `reset(seed=...)`, got another"),
        ([*FAULTY_BY["Longer"]], "expected observations of 2 numbers, as its observation_space says, got 4"),
        (["--env", ID, *FAULTY_BY["Raises"]], "--env robot_rl_tests/Raises-v0: failed in its step"),
        (["--env", ID, "--bias", "0=0.1", "--bias", "2=0.1"], "--bias 2=...: expected an action of"),
        (["--env", ID, "--bias", "0=0.1", "--bias", "0=0.2"], "--bias: expected each action once, got [0, 0]"),
    ],
)
def test_what_cannot_be_done_is_said(
    wanted: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_expert.py").write_text("def x(env:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert command.main([*wanted, "--short", "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not any(tmp_path.glob("*/policy.safetensors"))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["--demonstrations", "0"], "--demonstrations: expected a whole number from 1 to 1000000, got 0"),
        (["--seeds", "many"], "--seeds: expected a whole number from 1 to 1000000, got many"),
        (["--noise", "nan"], "--noise: expected a number from 0 to 10, got nan"),
        (["--noise", "much"], "--noise: expected a number from 0 to 10, got much"),
        (["--short", "--record"], "--record: not with --short"),
        (["--policy-only", "--method", "usr"], "--policy-only: not with --method"),
        (["--policy-only", "--record"], "--policy-only: not with --record"),
        (["--bias", "1:0.2"], "expected ENTRY=AMOUNT"),
        (["--bias", "1=nan"], "expected ENTRY=AMOUNT"),
        (["--noise", "0.1", "--record"], "--record: not with --noise"),
        (["--record"], f"--record: {ID} is not known here; put it into benchmarks/gym/known.py first"),
    ],
)
def test_an_option_out_of_its_bounds_is_refused(
    wanted: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(["--env", ID, *wanted])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_made(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert command.main(["--env", ID, "--short", "--out", str(tmp_path / name)]) == 2
    assert "expected a folder that can be written to" in " ".join(capsys.readouterr().err.split())


def test_what_is_wrong_with_the_demonstrations_is_said_on_the_command_line(tmp_path: Path) -> None:
    wanted = ["--env", ID, "--expert", "tests.point_env:expert", "--max-steps", "24", "--out", str(tmp_path), "--short"]
    few = ["--demonstrations", "7", "--noise", "0.05", "--bias", "0=0.01", "--bias", "1=-0.02"]
    assert command.main([*wanted, *few, "--method", "usr"]) == 0
    (made,) = tmp_path.glob("*.json")
    off = "action 0 off by +0.01, action 1 off by -0.02"
    assert json.loads(made.read_bytes())["imperfection"] == f"7 episodes, noise 0.05, {off}"


def test_the_expert_for_the_fetch_takes_the_block_to_the_goal() -> None:
    """Of a hand that follows its actions by half, and holds what it closes on."""
    rng, act = np.random.default_rng(0), pick_and_place(POINT.make())
    for _ in range(20):
        hand, goal = rng.uniform(0.5, 0.6, 3), rng.uniform(0.3, 0.8, 3)
        block, fingers = np.array([*rng.uniform(0.4, 0.7, 2), 0.42]), 0.1
        for _ in range(50):
            action = act(np.concatenate([block, goal, hand, block, block - hand, [fingers / 2, fingers / 2]]))
            assert np.abs(action).max() <= 1.0
            near, closing = np.linalg.norm(block - hand) < 0.02, action[3] < 0
            moved = 0.025 * action[:3]
            block = block + moved if near and closing and fingers < 0.055 else block
            fingers = 0.05 if near and closing else 0.1
            hand = hand + moved
        assert np.linalg.norm(block - goal) < 0.02


def test_the_expert_for_the_fetch_pushes_the_block_to_the_goal() -> None:
    """Of a hand that follows its actions by half, on either side of a round block that it moves where it goes."""
    rng, act = np.random.default_rng(0), push(POINT.make())
    for _ in range(20):
        block, goal = (np.array([*rng.uniform(0.4, 0.7, 2), 0.42]) for _ in range(2))
        hand = block + np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.0, 0.1)])
        hand[:2] = block[:2] + max(1.0, 0.05 / np.linalg.norm((hand - block)[:2])) * (hand - block)[:2]
        for _ in range(150):
            action = act(np.concatenate([block, goal, hand, block, block - hand, [0.0, 0.0]]))
            assert np.abs(action).max() <= 1.0
            hand = hand + 0.025 * action[:3]
            away = (block - hand) * [1.0, 1.0, 0.0]
            if abs(hand[2] - block[2]) < 0.05 and np.linalg.norm(away) < 0.045:
                block = block + (0.045 / np.linalg.norm(away) - 1.0) * away
        assert np.linalg.norm(block - goal) < 0.05  # of the environment


def test_the_way_through_a_maze_is_a_shortest_one() -> None:
    """Around a wall; there is none to a cell that is walled in."""
    graph = cells_of([[0, "g", 0, 0, 1], [0, 1, 1, 0, 1], [0, "r", 1, "c", 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    way = [(2, 1)]
    while (following := next_cell(graph, way[-1], (2, 3))) is not None:
        way.append(following)
    assert (way[0], way[-1], len(way)) == ((2, 1), (2, 3), 9)
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in itertools.pairwise(way))
    assert set(way) <= set(graph)
    assert next_cell(graph, (2, 1), (4, 4)) is None
    assert next_cell(graph, (0, 0), (0, 0)) is None
