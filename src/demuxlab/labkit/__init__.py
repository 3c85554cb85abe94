"""What a lab script is written with, and what runs it."""

from demuxlab.labkit.lab import Lab, LabError, Sender

__all__ = ["Lab", "LabError", "Sender"]
