"""The command `demuxlab`, also as `python -m demuxlab`."""

import signal


def main() -> None:
    """Run the command. While Python starts and ends, Ctrl-C ends the process without a traceback."""
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if own:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from demuxlab.cli import main as command

    try:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command.main()
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
