"""Files that a call names and that cannot be read or written: OSError becomes CallError with the cure."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from demuxlab.errors import CallError
from demuxlab.language import _


@contextmanager
def reading(path: str | PathLike[str], cure: str) -> Iterator[None]:
    """Read text or bytes of a file in the block; CallError where it cannot be read or is not UTF-8."""
    try:
        yield
    except OSError as error:
        raise CallError(_("{path} cannot be read ({why})", path=path, why=reason(error)), cure) from error
    except UnicodeDecodeError as error:
        raise CallError(_("{path} is not text in UTF-8", path=path), cure) from error


@contextmanager
def writing(path: str | PathLike[str], cure: str) -> Iterator[None]:
    """Write a file or folder in the block; CallError where that is not possible."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of a pipe has gone, as with `| head`: no error, see `terminal.call`
    except OSError as error:
        raise CallError(_("{path} cannot be written ({why})", path=path, why=reason(error)), cure) from error


def reason(error: OSError) -> str:
    """Return what the system says of an error, such as "No space left on device"."""
    return error.strerror or str(error)
