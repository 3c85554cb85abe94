"""The report of a capture, ours or any other: one HTML page without links, and the figures of the course."""
