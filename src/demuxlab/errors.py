"""The base of demuxlab's own exceptions: each says what is wrong, and how to mend it.

`terminal.call` alone turns them into the line that a person reads and into the exit status, so commands let
them pass. Not among them: the sockets' errors, which are the standard library's own, and those that only
carry a result from one part of a module to another.
"""


class DemuxlabError(Exception):
    """The thing itself failed: exit status 1.

    `wrong` names what is wrong and where, `cure` how to mend it. Both are sentences in the reader's language,
    without a full stop; `str()` is `wrong: cure`.
    """

    status = 1
    """The exit status of a command that ends with it."""

    def __init__(self, wrong: str, cure: str) -> None:
        super().__init__(wrong, cure)
        self.wrong = wrong
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.wrong}: {self.cure}"


class CallError(DemuxlabError):
    """The call was wrong, or what it names cannot be read, written or had: exit status 2."""

    status = 2
