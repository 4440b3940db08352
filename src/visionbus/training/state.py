"""What a checkpoint keeps of a fit in progress: values that load without running code."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

State = dict[str, Any]  # what torch.load(weights_only=True) loads: numbers, texts, tensors, lists and dicts of these


def copied(value: Any) -> Any:  # noqa: ANN401 (whatever a state holds)
    """Return a state with copies of its tensors, on the processor."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value
