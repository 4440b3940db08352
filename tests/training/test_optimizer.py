"""Orthogonalised steps: what they compute, and that a fit with them can be interrupted."""

import io

import pytest

torch = pytest.importorskip("torch")

from visionbus.training import Control, Recipe, fit  # noqa: E402 (torch may be missing)
from visionbus.training.classifier import Classifier  # noqa: E402 (the same)
from visionbus.training.networks import NetworkConfig, build  # noqa: E402 (the same)
from visionbus.training.optimizer import optimizer_for, orthogonal, set_rate  # noqa: E402 (the same)
from visionbus.training.processes import fabric_for  # noqa: E402 (the same)
from visionbus.vision import Input, evaluate  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

RECIPE = Recipe(epochs=2, batch=20, rate=0.02, orthogonal=0.02)


@pytest.fixture
def fitted(silent):
    """Return a function that fits a fresh network."""

    def fitted(data, recipe, *, control=None, precision="fp32"):
        network = build(NetworkConfig(2, widths=(8, 16)), data.images, seed=0)
        fit(network, data, recipe, fabric=fabric_for(precision), seed=0, observer=silent, control=control)
        return network

    return fitted


@pytest.mark.parametrize("shape", [(32, 9), (16, 144), (24, 24)])
def test_rows_or_columns_become_about_orthonormal_and_keep_their_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    result = left.T @ orthogonal(matrix) @ right.T
    counted = values > 0.02 * matrix.norm()
    assert counted.sum() > 0.8 * len(values)
    assert ((result.diagonal()[counted] > 0.6) & (result.diagonal()[counted] < 1.2)).all()
    assert (result - result.diagonal().diag()).abs().max() < 1e-3


def test_no_gradient_is_no_step():
    assert (orthogonal(torch.zeros(4, 9)) == 0).all()


def test_convolutions_turn_and_keep_their_norm_and_all_else_follows_sgd(stripes):
    data = stripes(20)
    network, other = (build(NetworkConfig(2, widths=(8,)), data.images, seed=0) for _ in range(2))
    plain = torch.optim.SGD(other.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    turning = optimizer_for(network, Recipe(rate=0.04, orthogonal=0.1, decay=0.0))
    set_rate(turning, 0.02)
    for one, optimizer in ((network, turning), (other, plain)):
        before = one.stages[0].refine.weight.detach().clone()
        one(torch.from_numpy(data.images))[:, 0].sum().backward()
        optimizer.step()
    assert (network.head.weight == other.head.weight).all()
    assert (network.stages[0].refine_norm.bias == other.stages[0].refine_norm.bias).all()
    after = network.stages[0].refine.weight.detach()
    assert float(after.norm() / before.norm()) == pytest.approx(1, rel=1e-5)
    assert float((after - before).norm() / before.norm()) == pytest.approx(0.05, rel=0.2)  # half of the peak


def test_without_a_rate_for_them_convolutions_follow_sgd_with_decay(stripes):
    data = stripes(20)
    network, other = (build(NetworkConfig(2, widths=(8,)), data.images, seed=0) for _ in range(2))
    groups = [[p for p in other.parameters() if p.requires_grad and (p.ndim > 1) is weight] for weight in (True, False)]
    plain = torch.optim.SGD(
        [{"params": groups[0], "weight_decay": 0.1}, {"params": groups[1]}], lr=0.02, momentum=0.9, nesterov=True
    )
    for one, optimizer in ((network, optimizer_for(network, Recipe(rate=0.02, decay=0.1))), (other, plain)):
        for _ in range(2):
            one(torch.from_numpy(data.images))[:, 0].sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all((value == other.state_dict()[name]).all() for name, value in network.state_dict().items())


@pytest.mark.parametrize("size", [1, 1000])
def test_adaptive_steps_are_as_large_in_all_layers_whatever_the_gradients(stripes, size):
    data = stripes(20)
    network = build(NetworkConfig(2, widths=(8,)), data.images, seed=0)
    optimizer = optimizer_for(network, Recipe(decay=0.0), adaptive=True)
    set_rate(optimizer, 0.01)
    weights = (network.head.weight, network.stages[0].refine.weight, network.stages[0].refine_norm.bias)
    before = [weight.detach().clone() for weight in weights]
    (network(torch.from_numpy(data.images))[:, 0].sum() * size).backward()
    optimizer.step()
    for weight, was in zip(weights, before, strict=True):
        seen = weight.grad.abs() > 1e-4
        assert seen.any()
        assert torch.allclose((weight.detach() - was)[seen], -0.01 * weight.grad[seen].sign(), rtol=1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop", [1, 4, 8])
def test_fit_goes_on_from_any_state_to_the_same_weights(stripes, fitted, stop, precision):
    data, kept = stripes(120), []
    whole = fitted(data, RECIPE, precision=precision).state_dict()
    control = Control(keep=kept.append, stopped=lambda: len(kept) >= stop, every=0)
    stopped = fitted(data, RECIPE, control=control, precision=precision).state_dict()
    assert any((value != stopped[name]).any() for name, value in whole.items())
    torch.save(kept[-1], file := io.BytesIO())
    start = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    again = fitted(data, RECIPE, control=Control(start=start), precision=precision).state_dict()
    assert all((value == again[name]).all() for name, value in whole.items())


@pytest.mark.parametrize("weights", [(), (1.5, 0.5)])
def test_network_learns_what_can_be_learnt(stripes, fitted, weights):
    recipe = Recipe(epochs=4, batch=32, rate=0.05, orthogonal=0.05, weights=weights)
    network = fitted(stripes(300), recipe, precision="bf16")
    assert evaluate(Classifier(network, ("upright", "level"), Input(12, 12, "L")), stripes(200, seed=1)).accuracy > 0.95
