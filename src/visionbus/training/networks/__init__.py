"""The networks that can be trained: ours from scratch, backbones with pretrained weights, and a user's own.

`choice` decides between `small` and `backbone`; the weights of the latter are found by `sources` and read by `weights`.
`own` checks a network that a user brings. `backbone` and `sources` need the extra `pretrained`, and are imported only
where they are needed.
"""

from visionbus.training.networks.choice import Choice, choose, fresh, from_json, is_photographic, to_json
from visionbus.training.networks.own import check
from visionbus.training.networks.pixels import Pixels
from visionbus.training.networks.small import Network, NetworkConfig, build

__all__ = [
    "Choice",
    "Network",
    "NetworkConfig",
    "Pixels",
    "build",
    "check",
    "choose",
    "fresh",
    "from_json",
    "is_photographic",
    "to_json",
]
