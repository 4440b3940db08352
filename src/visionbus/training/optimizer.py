"""Chooses how weights follow their gradients: SGD, in which convolutions may take orthogonalised steps; or AdamW."""

import math

import torch
from torch import Tensor, nn

from visionbus.training.recipe import Recipe

_ITERATIONS = 3  # as many as cifar10-airbench takes
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Muon's: it lifts small singular values fast, and leaves all near 1


def optimizer_for(network: nn.Module, recipe: Recipe, *, adaptive: bool = False) -> torch.optim.Optimizer:
    """Return an optimizer of what learns in a network; weights decay, biases and norms do not.

    With `adaptive` it is AdamW, whose steps are as large in each layer, whatever the size of its gradients.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    share = 0.0 if adaptive else recipe.orthogonal
    filters = [parameter for parameter in trained if share and parameter.ndim == 4]
    decayed = [parameter for parameter in trained if parameter.ndim > 1 and not (filters and parameter.ndim == 4)]
    free = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [
        {"params": filters, "weight_decay": 0.0, "factor": share / recipe.rate, "orthogonal": True},
        {"params": decayed, "weight_decay": recipe.decay, "factor": 1.0, "orthogonal": False},
        {"params": free, "weight_decay": 0.0, "factor": 1.0, "orthogonal": False},
    ]
    groups = [group for group in groups if group["params"]]
    if adaptive:
        return torch.optim.AdamW(groups, lr=recipe.rate)
    return Descent(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step of an optimizer that `optimizer_for` returned."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


class Descent(torch.optim.SGD):
    """SGD with Nesterov momentum; the filters of some convolutions take orthogonalised steps.

    Such a step goes along all directions that a layer's filters have, taken as the rows of a matrix, by as much; a
    gradient mostly goes along a few. The norm of the filters is kept, since to the batch norm that follows it means
    nothing, but for how far a step turns them. The steps are those of Muon (Jordan and others, 2024), the fixed norm is
    that of cifar10-airbench by the same author.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Let all parameters take a step."""
        for group in self.param_groups:
            for filters in group["params"] if group["orthogonal"] else ():
                if filters.grad is not None:
                    self._step_orthogonally(filters, filters.grad, group["lr"], group["momentum"])
                    filters.grad = None  # so that SGD passes them over
        super().step(closure)

    def _step_orthogonally(self, filters: Tensor, gradient: Tensor, rate: float, momentum: float) -> None:
        """Let filters, float [n, ...], take an orthogonalised step, and keep their norm."""
        state = self.state[filters]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(filters)
        past = state["momentum_buffer"].mul_(momentum).add_(gradient)
        ahead = gradient.add(past, alpha=momentum)
        norm = filters.norm()
        step = orthogonal(ahead.flatten(1)).view(ahead.shape)
        filters.sub_(step * (rate * norm / math.sqrt(len(filters))))
        filters.mul_(norm / filters.norm())


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix, float [n, m] as given, whose rows (columns, if there are fewer) are orthonormal.

    Its singular values are between 0.6 and 1.2, those apart that were below a hundredth of the norm. What is iterated
    is the small matrix of the products of rows; the large one is multiplied once, in the end.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonal(matrix.T).T
    rows = matrix / matrix.norm().clamp_min(torch.finfo(matrix.dtype).tiny)
    products, identity = rows @ rows.T, torch.eye(len(rows), device=rows.device, dtype=rows.dtype)
    factor, (linear, cubic, quintic) = identity, _POLYNOMIAL
    for _ in range(_ITERATIONS):
        polynomial = linear * identity + cubic * products + quintic * (products @ products)
        factor = polynomial @ factor
        products = polynomial @ products @ polynomial
    result: Tensor = factor @ rows
    return result
