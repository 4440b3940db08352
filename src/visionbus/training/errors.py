"""The errors of visionbus.training, one tree.

TrainingError
├── CheckpointError   a checkpoint that is missing, damaged, or of another training (also a ValueError)
├── DivergedError     the loss is no number any more
├── ProcessError      a process of a training on several devices ended before its work was done
└── WeightsError      pretrained weights that cannot be had, are damaged, or are of another network (also a ValueError)

Data and model files raise the errors of `visionbus.vision`. Each message says what to do.
"""


class TrainingError(Exception):
    """Base class of the errors of `visionbus.training`."""


class CheckpointError(TrainingError, ValueError):
    """The training cannot go on from this checkpoint."""


class DivergedError(TrainingError):
    """The loss became infinite, or not a number: what follows would learn nothing."""


class ProcessError(TrainingError):
    """A process of the training ended too early."""


class WeightsError(TrainingError, ValueError):
    """The pretrained weights cannot be used."""
