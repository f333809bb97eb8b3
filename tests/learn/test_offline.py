"""Old episodes in another method's terms: its steer decides what was decided, or there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import METHODS as LEARNERS
from robot_rl.learn.learner import Learner
from robot_rl.learn.offline import Interface, as_learnt_by, with_own_base
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.task_files import TASKS_DIR, load_task
from robot_rl.types import Array, Context, LabelValue, Source, Transition

POLICY = FlowPolicy.load(TASKS_DIR / "lid_opening.safetensors")
SPEC = POLICY.spec
TASK = load_task("lid_opening")
SMALL: dict[str, Any] = {"hidden": 16, "layers": 2, "batch": 16, "warmup_episodes": 0}
METHODS = [*LEARNERS, "lp-ds:td"]


def config(method: str) -> MethodConfig:
    """The task's settings, with small networks; `lp-ds:td` has the critic that takes steers."""
    if method == "lp-ds:td":
        return TASK.method("lp-ds").model_copy(update={**SMALL, "pool": 2, "critic": "td"})
    settings = TASK.method(method)
    return settings.model_copy(update={**SMALL, "pool": 2 if settings.pool else 0})


def interface(method: str) -> Interface:
    return Interface(SPEC, method, config(method))


def episode(method: str, *, residual: bool = True, seed: int = 0) -> list[Transition]:
    """Three chunks as `method` would decide them, carried out without a clip."""
    made, rng = interface(method), np.random.default_rng(seed)
    layout = made.layout
    chunks = []
    for index in range(3):
        steer = rng.uniform(-1, 1, (1, layout.size)).astype(np.float32)
        if not residual:
            steer[:, layout.noise_size :] = 0
        noise, added = layout.split(steer)
        drawn = rng.standard_normal((1, *SPEC.noise_shape)).astype(np.float32)
        z = rng.standard_normal(SPEC.latent or 0).astype(np.float32)
        base = (0.001 * rng.standard_normal((SPEC.horizon, 4))).astype(np.float32)
        chunks.append(
            Transition(
                episode=4, index=index, features=rng.standard_normal(SPEC.features).astype(np.float32),
                next_features=rng.standard_normal(SPEC.features).astype(np.float32),
                noise=(noise if layout.noise_size else drawn)[0], steer=steer[0], base_chunk=base,
                executed_chunk=base + added[0], k_executed=8, discount=0.97, terminal=index == 2, truncated=False,
                z=z, next_z=z,
            )
        )  # fmt: skip
    return chunks


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_it_is_said_of_each_method_whether_its_critic_reads_steers(method: str) -> None:
    """Its first critic loss, on the same episode with other steers, is another one or the very same."""
    losses = []
    for factor in (1.0, 0.5):
        learner = Learner(SPEC, method, config(method), TorchFlow.from_policy(POLICY), seed=0)
        learner.add_episode([replace(t, steer=np.float32(factor) * t.steer) for t in episode(method)])
        learner.set_labels({4: LabelValue.SUCCESS})
        assert learner.learn(1) == 1
        losses.append(learner.losses["td_loss"])
    assert np.isfinite(losses).all()
    assert (losses[0] != losses[1]) == interface(method).judges_steers


@pytest.mark.parametrize("method", LEARNERS)
def test_the_same_method_keeps_every_bit(method: str) -> None:
    given = episode(method)
    made = Interface(SPEC, method, config(method).model_copy(update={"gamma": 0.97}))
    kept, known = as_learnt_by(made, made, given)
    assert known
    for before, after in zip(given, kept, strict=True):
        assert same_bits(before.steer, after.steer)
        assert after == replace(before, steer=after.steer)


def test_a_chunk_is_discounted_as_its_new_method_does() -> None:
    made = Interface(SPEC, "usr", config("usr").model_copy(update={"gamma": 0.9}))
    assert [t.discount for t in as_learnt_by(made, interface("usr"), episode("usr"))[0]] == [0.9] * 3


@pytest.mark.parametrize(("target", "source"), [("usr-sac", "usr"), ("usr", "usr-sac"), ("dsrl-sac", "dsrl-na")])
def test_a_steer_of_the_other_method_decides_the_same(target: str, source: str) -> None:
    given = episode(source)
    found, known = as_learnt_by(interface(target), interface(source), given)
    assert known
    for before, after in zip(given, found, strict=True):
        noise, added = interface(target).layout.split(after.steer[None])
        np.testing.assert_allclose(noise[0], before.noise, atol=1e-5)
        np.testing.assert_allclose(before.base_chunk + added[0], before.executed_chunk, atol=2e-6)


def test_a_chunk_that_was_left_alone_is_a_chunk_of_noise_steering() -> None:
    found, known = as_learnt_by(interface("dsrl-sac"), interface("usr"), episode("usr", residual=False))
    assert known
    assert all(len(t.steer) == interface("dsrl-sac").layout.size for t in found)


def test_what_no_steer_of_it_says_is_refused_where_steers_are_learnt_from() -> None:
    for target, source, why in (
        ("dsrl-sac", "usr", r"episode 4, chunk 0: dsrl-sac .* mm of what was added .* executed chunks: usr, dsrl-na"),
        ("zprl", "usr", "noise was chosen"),
        ("zprl", "policy-decorator", "decoded from the features, where this method decodes from their latent"),
        ("dsrl-sac", "zprl", "decoded from their latent|outside of what the layout spans"),
        ("usr-sac", "policy-decorator", "outside of what the layout spans"),
    ):
        with pytest.raises(SpecMismatch, match=why):
            as_learnt_by(interface(target), interface(source), episode(source))


def test_a_shift_of_zero_is_no_decoding_without_the_latent() -> None:
    """ZPRL's dz = 0 decodes from g(z), and everybody else from the features c: two different chunks."""
    for source in ("policy-decorator", "residual-rl", "lp-ds"):
        with pytest.raises(SpecMismatch, match=r"decoded from the features|noise was chosen"):
            as_learnt_by(interface("zprl"), interface(source), episode(source, residual=False))
    still = [replace(t, steer=np.zeros_like(t.steer), noise=np.zeros_like(t.noise)) for t in episode("zprl")]
    with pytest.raises(SpecMismatch, match="decoded from their latent, where this method decodes from the features"):
        as_learnt_by(interface("dsrl-sac"), interface("zprl"), still)
    assert as_learnt_by(interface("rlpd"), interface("zprl"), still)[1]


@pytest.mark.parametrize("target", ["usr", "dsrl-na", "policy-decorator", "residual-rl", "rlpd", "lp-ds"])
@pytest.mark.parametrize("source", LEARNERS)
def test_whoever_learns_from_executed_chunks_takes_those_of_any_method(target: str, source: str) -> None:
    found, _ = as_learnt_by(interface(target), interface(source), episode(source))
    learner = Learner(SPEC, target, config(target), TorchFlow.from_policy(POLICY), seed=0)
    learner.add_episode(found)
    learner.set_labels({4: LabelValue.FAILURE})
    assert not learner.refused
    assert learner.learn(1) == 1


def test_rlpd_can_say_any_chunk_and_nothing_of_its_own_warm_up_is_misread() -> None:
    """While the base policy acts RLPD's steer is 0, which means another chunk: what was executed counts."""
    layout = interface("rlpd").layout
    base = [replace(t, steer=np.zeros(layout.size, np.float32)) for t in episode("usr", residual=False)]
    found, known = as_learnt_by(interface("dsrl-sac"), interface("rlpd"), base)
    assert known
    narrower = interface("usr").config.noise_bound / interface("dsrl-sac").config.noise_bound
    np.testing.assert_allclose(found[0].steer, episode("usr", residual=False)[0].steer[:4] * narrower, atol=1e-5)
    back, known = as_learnt_by(interface("rlpd"), interface("usr"), episode("usr"))
    assert known
    chunk = layout.action_mid.reshape(8, 4) + layout.split(back[0].steer[None])[1][0]
    np.testing.assert_allclose(chunk, episode("usr")[0].executed_chunk, atol=2e-6)


@pytest.mark.parametrize("source", LEARNERS)
def test_who_learns_from_the_bases_own_chunk_gets_one_that_nobody_steered(source: str) -> None:
    """What a steered policy decoded says what the steer wanted: the base's own spread is that of w ~ N(0, I)."""
    given = [replace(episode(source)[0], episode=number, features=np.zeros(SPEC.features, np.float32))
             for number in range(400)]  # fmt: skip
    made = [with_own_base(interface("policy-decorator"), interface(source), [t], POLICY)[0] for t in given]
    if source in ("policy-decorator", "residual-rl", "rlpd"):  # they leave noise and latent alone
        assert made == given
        return
    assert [replace(t, noise=was.noise, base_chunk=was.base_chunk) for t, was in zip(made, given, strict=True)] == given
    decoded = POLICY.decode(Context(np.stack([t.features for t in made])), np.stack([t.noise for t in made]))
    np.testing.assert_allclose(decoded, np.stack([t.base_chunk for t in made]), atol=1e-6)
    noise = np.random.default_rng(7).standard_normal((400, *SPEC.noise_shape)).astype(np.float32)
    drawn = POLICY.decode(Context(np.zeros((400, SPEC.features), np.float32)), noise)
    found = np.stack([t.base_chunk for t in made])
    np.testing.assert_allclose(found.mean(0), drawn.mean(0), atol=5 * float(drawn.std(0).max()) / 20)
    np.testing.assert_allclose(found.std(0), drawn.std(0), rtol=0.3)
    again = with_own_base(interface("policy-decorator"), interface(source), given[:1], POLICY)[0]
    assert np.array_equal(again.base_chunk, made[0].base_chunk)
    assert with_own_base(interface("usr"), interface(source), given, POLICY) == given  # it chooses the noise
    of_rlpd = with_own_base(interface("rlpd"), interface(source), given[:1], POLICY)[0]
    assert np.array_equal(of_rlpd.base_chunk, again.base_chunk)
    assert np.array_equal(of_rlpd.noise, again.noise)


def test_a_person_has_no_steer_and_no_base_chunk() -> None:
    human = [replace(t, source=Source.HUMAN) for t in episode("usr")]
    found, known = as_learnt_by(interface("dsrl-na"), interface("usr"), human)
    assert not known
    assert not any(t.steer.any() for t in found)
    for target in ("usr-sac", "policy-decorator"):
        with pytest.raises(SpecMismatch, match="a person acted here"):
            as_learnt_by(interface(target), interface("usr"), human)


def test_a_steer_that_was_lost_on_the_way_is_not_made_up() -> None:
    through, known = as_learnt_by(interface("dsrl-na"), interface("usr"), episode("usr"))
    assert not known
    with pytest.raises(SpecMismatch, match="from where it was recorded"):
        as_learnt_by(interface("dsrl-sac"), interface("dsrl-na"), through, steers_known=known)
