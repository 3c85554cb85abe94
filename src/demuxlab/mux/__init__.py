"""Multiplexing: the segments of several processes share one link, queued fairly and given IP headers."""
