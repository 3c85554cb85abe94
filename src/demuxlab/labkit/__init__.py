"""What a lab script is written with, and what runs it."""

from demuxlab.labkit.lab import Lab, Sender
from demuxlab.labkit.network import LabError

__all__ = ["Lab", "LabError", "Sender"]
