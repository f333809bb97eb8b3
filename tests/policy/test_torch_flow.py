import numpy as np
import pytest
import torch

from robot_rl.learn.steering import LatentDecoder
from robot_rl.policy.flow import FlowPolicy, layers_of, mlp
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.types import Context


@pytest.mark.parametrize("through_bottleneck", [False, True])
def test_torch_and_numpy_decode_the_same_chunks(policy: FlowPolicy, through_bottleneck: bool) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((256, policy.spec.features)).astype(np.float32)
    noise = rng.standard_normal((256, 8, 4)).astype(np.float32)
    z = rng.standard_normal((256, 16)).astype(np.float32) if through_bottleneck else None
    expected = policy.decode(Context(features), noise, z)
    latent = None if z is None else torch.from_numpy(z)
    chunks = TorchFlow.from_policy(policy).decode(torch.from_numpy(features), torch.from_numpy(noise), latent)
    np.testing.assert_allclose(chunks.numpy(), expected, atol=1e-5)
    assert not np.array_equal(expected, policy.decode(Context(features), -noise, z))


def test_the_condition_is_what_a_latent_decodes_to(policy: FlowPolicy) -> None:
    decoder = TorchFlow.from_policy(policy)
    latent = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    condition = decoder.reconstruct(latent)
    assert isinstance(decoder, LatentDecoder)
    expected = mlp(layers_of(policy.weights, "reconstruct"), latent.numpy())
    np.testing.assert_allclose(condition.numpy(), expected, atol=1e-5)


def test_no_gradient_passes_and_the_noise_is_only_read(policy: FlowPolicy) -> None:
    noise = torch.randn(4, 8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kept = noise.detach().clone()
    chunks = TorchFlow.from_policy(policy).decode(torch.zeros(4, policy.spec.features), noise)
    assert not chunks.requires_grad
    assert torch.equal(noise, kept)


def test_it_moves_whole(policy: FlowPolicy) -> None:
    decoder, meta = TorchFlow.from_policy(policy), torch.device("meta")
    decoder.to(meta)
    features = torch.zeros(3, policy.spec.features, device=meta)
    chunks = decoder.decode(features, torch.zeros(3, *policy.spec.noise_shape, device=meta))
    assert chunks.device == meta
    assert decoder.reconstruct(torch.zeros(3, policy.spec.latent or 0, device=meta)).device == meta


def test_a_traced_chunk_is_the_decoded_one_and_says_how_noise_and_latent_move_it(policy: FlowPolicy) -> None:
    decoder = TorchFlow.from_policy(policy)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, policy.spec.features, generator=generator)
    noise = torch.randn(3, *policy.spec.noise_shape, generator=generator).requires_grad_()
    latent = torch.randn(3, policy.spec.latent or 0, generator=generator).requires_grad_()
    traced = decoder.trace(features, noise, latent)
    decoded = decoder.decode(features, noise, latent)
    assert torch.equal(traced, decoded)
    assert not decoded.requires_grad
    for gradient in torch.autograd.grad(traced.sum(), [noise, latent]):
        assert gradient.abs().sum() > 0
