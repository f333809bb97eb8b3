"""What every frozen policy must do, of every backbone; and what they share beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_rl.errors import BadAction, BadObservation, ConfigError, SpecMismatch
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.loading import decoder_of
from robot_rl.policy.backbones.policy import BackbonePolicy
from robot_rl.policy.remote import RemotePolicy
from robot_rl.testing.policy import FrozenPolicyConformance, noise_for
from robot_rl.types import Observation
from tests.policy.backbones.conftest import KINDS, VISION, look, make
from tests.policy.conftest import SPACE
from tests.serve.served import served


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backbone(kind: str, seen: SeenDemonstrations, tmp_path_factory: pytest.TempPathFactory) -> BackbonePolicy:
    return make(seen, KINDS[kind], tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def visual(seen: SeenDemonstrations, tmp_path_factory: pytest.TempPathFactory) -> BackbonePolicy:
    return make(seen, KINDS["visual flow, MLP"], tmp_path_factory.mktemp("visual"))


class TestBackbones(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self, backbone: BackbonePolicy) -> BackbonePolicy:
        return backbone

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return look(4)


class TestServedVisual(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self, visual: BackbonePolicy) -> Iterator[RemotePolicy]:  # type: ignore[override]
        yield from served(visual)

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return look(4)


def test_the_spec_says_what_the_settings_mean(kind: str, backbone: BackbonePolicy) -> None:
    spec, settings = backbone.spec, KINDS[kind]
    assert spec.noise_shape == (() if settings["objective"] == "bins" else (8, 4))
    assert spec.latent == (8 if settings["objective"] != "bins" and settings.get("bottleneck", True) else None)
    assert spec.features == (4 + 2 * 8 if "vision" in settings else 11)
    assert ("images.front" in spec.observation) == ("vision" in settings) == ("extra.bin_pose" not in spec.observation)
    assert spec.policy_id.startswith("visual-" if "vision" in settings else settings["objective"])


def test_chunks_stay_in_the_action_space_whatever_the_noise(backbone: BackbonePolicy) -> None:
    context = backbone.encode(look(4))
    chunks = backbone.decode(context, 100 * noise_for(backbone.spec, 4))
    low, high = np.asarray(SPACE.low, np.float32), np.asarray(SPACE.high, np.float32)
    assert (chunks >= low - 1e-7).all()
    assert (chunks <= high + 1e-7).all()


def test_a_learner_decodes_stored_features_to_the_same_chunks(backbone: BackbonePolicy) -> None:
    context, noise = backbone.encode(look(4)), noise_for(backbone.spec, 4)
    made = decoder_of(backbone).decode(torch.from_numpy(context.features), torch.from_numpy(noise))
    np.testing.assert_array_equal(made.numpy(), backbone.decode(context, noise))


def test_a_trace_says_how_noise_and_latent_move_the_chunk(backbone: BackbonePolicy) -> None:
    spec, context = backbone.spec, backbone.encode(look(2))
    if not spec.noise_shape:
        pytest.skip("this policy takes no noise")
    noise = torch.from_numpy(noise_for(spec, 2)).requires_grad_()
    latent = None if context.z is None else torch.from_numpy(context.z).requires_grad_()
    decoder = decoder_of(backbone)
    decoder.trace(torch.from_numpy(context.features), noise, latent).sum().backward()
    assert noise.grad is not None
    assert noise.grad.abs().sum() > 0
    assert latent is None or (latent.grad is not None and latent.grad.abs().sum() > 0)
    assert all(parameter.grad is None for parameter in backbone.backbone.parameters())


def test_z_is_that_of_the_observation_alone_and_in_any_batch(visual: BackbonePolicy) -> None:
    first, second, *_ = look(4)
    together, alone = visual.encode([second, first, second]).z, visual.encode([second]).z
    assert together is not None
    assert alone is not None
    np.testing.assert_allclose(together[[0, 2]], np.repeat(alone, 2, axis=0), atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)


def test_what_it_looks_at_is_the_middle_and_both_cameras(visual: BackbonePolicy) -> None:
    (seen,) = look(1)
    features = visual.encode([seen]).features
    for camera, mine in (("front", slice(4, 12)), ("wrist", slice(12, 20))):
        for inside in (True, False):
            picture = seen.images[camera].copy()
            picture[slice(2, 38) if inside else slice(0, 2)] ^= 255
            other = visual.encode([replace(seen, images={**seen.images, camera: picture})]).features
            assert np.allclose(other[0, mine], features[0, mine], atol=1e-6) != inside
            rest = np.r_[:4, 12:20] if camera == "front" else np.r_[:12]
            np.testing.assert_array_equal(other[0, rest], features[0, rest])


def test_pictures_of_another_size_or_kind_are_refused(visual: BackbonePolicy) -> None:
    (seen,) = look(1)
    for wrong, words in ((seen.images["front"][:-1], "shape"), (seen.images["front"] / 255.0, "uint8")):
        with pytest.raises(BadObservation, match=f"front: expected {words}"):
            visual.encode([replace(seen, images={**seen.images, "front": wrong})])
    with pytest.raises(BadObservation, match="one observation or more"):
        visual.encode([])


def test_a_wrong_shape_and_a_number_that_is_none_are_refused(backbone: BackbonePolicy) -> None:
    context, noise = backbone.encode(look(2)), noise_for(backbone.spec, 2)
    with pytest.raises(SpecMismatch, match="expected noise of shape"):
        backbone.decode(context, noise[:1])
    with pytest.raises(SpecMismatch, match="expected latent of shape"):
        backbone.decode(context, noise, np.zeros((2, 9), np.float32))
    with pytest.raises(BadAction, match="finite noise"):
        backbone.decode(context, np.full_like(noise, np.nan))


def test_it_computes_on_one_thread_and_leaves_torchs_own_as_they_were(
    visual: BackbonePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    encoder = type(visual.backbone).features
    monkeypatch.setattr(
        type(visual.backbone),
        "features",
        lambda self, *seen: counted.append(torch.get_num_threads()) or encoder(self, *seen),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        visual.encode(look(1))
        assert (counted, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_without_the_frames_it_cannot_be_trained(seen: SeenDemonstrations, tmp_path: Path) -> None:
    blind = replace(seen, frames={"front": seen.frames["front"]})
    with pytest.raises(ConfigError, match="looks at 'wrist'"):
        make(blind, {"vision": VISION}, tmp_path)
    with pytest.raises(ConfigError, match=r"crop: expected 40 pixels at most"):
        make(seen, {"vision": {**VISION, "crop": 41}}, tmp_path, train_steps=1, bottleneck_steps=1)


def test_a_trained_bottleneck_has_axes_of_its_own(seen: SeenDemonstrations, tmp_path: Path) -> None:
    bottleneck = make(seen, KINDS["flow, MLP"], tmp_path).backbone.chunks.bottleneck
    assert bottleneck is not None
    turn = bottleneck.get_buffer("turn")
    assert torch.allclose(turn.T @ turn, torch.eye(len(turn)), atol=1e-5)
    assert not torch.allclose(turn, torch.eye(len(turn)), atol=0.1)
