"""UDP and TCP: what happens to a segment once its socket is known. No I/O, no clock: time is an argument."""
