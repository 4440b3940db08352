"""visionbus: train image classifiers, and run them over a message bus with nothing lost."""

__version__ = "0.1.0"
