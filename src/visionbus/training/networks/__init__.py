"""The networks that can be trained: ours from scratch."""

from visionbus.training.networks.small import Network, NetworkConfig, build

__all__ = ["Network", "NetworkConfig", "build"]
