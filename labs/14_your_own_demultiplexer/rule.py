"""A rule of your own for Linux itself: which listening socket gets a connection request?

    sudo .venv/bin/python labs/14_your_own_demultiplexer/rule.py

The function below becomes a program that Linux runs for each SYN (BPF, sk_lookup), in a network namespace of
its own. One web server is started for each name that it returns. None of them is bound to the port that curl
asks for. Change the function, change CLIENTS, and run it again.

It may use if, elif, else, and, or, not, the comparisons, `in` a range or a tuple, variables, and with ports
+ * // % & | ^ << >>. An address is compared with an address by ==, != or in. There are no loops and no calls.
"""

from demuxlab.labkit.in_linux import in_linux


def listener(
    source_address: str, source_port: int, destination_address: str, destination_port: int
) -> str | None:
    """Return the name of the listening socket that gets this SYN; None leaves the choice to Linux."""
    if destination_port in range(7000, 8000):
        return "P7" if source_port % 2 else "P8"
    if destination_address == "10.9.0.20" and destination_port == 80:
        return "P4" if source_address == "10.9.0.10" else "P5"
    return None


CLIENTS = [
    ("10.9.0.10", 9157, "10.9.0.20", 80),
    ("10.9.0.30", 9157, "10.9.0.20", 80),
    ("10.9.0.30", 5775, "10.9.0.20", 7000),
    ("10.9.0.30", 5776, "111.0.0.2", 7999),
    ("10.9.0.30", 5777, "10.9.0.20", 8000),
]
"""Source address and port, destination address and port: curl is each of them once."""

if __name__ == "__main__":
    in_linux(listener, CLIENTS)
