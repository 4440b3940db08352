"""Trains image classifiers with torch (extra `train`): `train` does everything, each module below does one part."""

from visionbus.training.augment import Augment
from visionbus.training.classifier import Classifier
from visionbus.training.export import export
from visionbus.training.loop import Recipe, fit
from visionbus.training.networks import Network, NetworkConfig
from visionbus.training.pipeline import Trained, train

__all__ = ["Augment", "Classifier", "Network", "NetworkConfig", "Recipe", "Trained", "export", "fit", "train"]
