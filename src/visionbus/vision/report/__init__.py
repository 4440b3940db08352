"""The report about a trained model: one HTML file that needs nothing else."""

from visionbus.vision.report.measured import Measured
from visionbus.vision.report.page import write_report

__all__ = ["Measured", "write_report"]
