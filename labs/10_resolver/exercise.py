"""Exercise 10: write a resolver. Fill in the three functions and the class; change no name and no argument.

Check it with `.venv/bin/pytest labs/10_resolver`. The Python standard library is all you need.

A message of DNS (RFC 1035, section 4) begins with a header of 12 bytes, six numbers of 2 bytes each:

    ID, flags, and how many there are of questions, answers, authority records, additional records

Then come the questions, then the records. Numbers are big-endian: the high byte comes first.
"""


def query(identifier: int, name: str) -> bytes:
    """Return the message that asks for the addresses of a name.

    The header: `identifier` is the ID, the flags are 0x0100 (recursion desired), there is one question.
    The question: the name, then type 1 (A, an IPv4 address) and class 1 (IN, the Internet), 2 bytes each.
    A name is its labels, that is the parts between the dots: for each a byte with its length, then its
    bytes. A zero byte ends the name. "www.demux.example." with a dot at the end is the same name.

    A label has 1 to 63 bytes of ASCII: raise ValueError if one has none or more. The root alone, "" or ".",
    is not asked for here.

    Example, frame 1 of the lab's capture, query(0x1035, "www.demux.example"):

        10 35 01 00 00 01 00 00 00 00 00 00                       ID, flags, 1 question, 0, 0, 0
        03 77 77 77 05 64 65 6d 75 78 07 65 78 61 6d 70 6c 65 00  3 www 5 demux 7 example 0
        00 01 00 01                                               type A, class IN
    """
    raise NotImplementedError("query is still to be written")


def read_name(message: bytes, at: int) -> tuple[str, int] | None:
    """Return the name that stands at byte `at` of a message, and where what follows it begins.

    The name is text with dots between the labels, as "www.demux.example", and none at the end. Bytes that are
    not ASCII may become any characters.

    A name that stood in the message before need not be written again. In the place of a length, a byte with
    its two high bits set begins a pointer of 2 bytes: its other 14 bits say at which byte of the message the
    name goes on. A pointer ends the name where it stands. What it leads to may end with a pointer again.

    A pointer may also lead to a later byte, and a name may follow as many pointers as it has.

    Return None where the message ends before the name does, where a pointer points beyond its end, where
    pointers lead round in a circle, and where only one of the two high bits is set (that is reserved).

    Example, from frame 13 of the lab's capture. The alias "files.demux.example" stands at byte 12, so "demux"
    is at byte 18. At byte 49 the name "www.demux.example" has 6 bytes: read_name(message, 49) is
    ("www.demux.example", 55).

        03 77 77 77 c0 12      3 www, then a pointer to byte 0x12 = 18
    """
    raise NotImplementedError("read_name is still to be written")


def addresses(message: bytes) -> list[str]:
    """Return the addresses that an answer has for the name in its question, in the order of the answer.

    After the header and the question stand the answers, as many as the header says. Each is a record: a name;
    type and class, 2 bytes each; a time to live, 4 bytes; the length of the data, 2 bytes; the data.

        type 1 (A)      of class 1: the data is an address, 4 bytes, as "10.9.0.20"; skip another length
        type 5 (CNAME)  of class 1: the data is a name. The record's name is an alias of it: the addresses of
                        that name count as well. They stand behind this record.

    An address that stands there twice is returned twice. Skip records of other types and classes, and those
    of other names. Small and capital letters are the same in a name. What stands behind the answers does not
    count.

    Return an empty list where there is none: where the message is no response (the highest bit of the flags
    is 0), where its code (the lowest four bits of the flags) is not 0, where it has not exactly one question,
    and where question and answers cannot be read, as in a message cut short. Never raise.

    Example, frame 2 of the lab's capture, ["10.9.0.20"]:

        10 35 81 80 00 01 00 01 00 00 00 00                       a response with code 0: 1 question, 1 answer
        03 77 77 77 05 64 65 6d 75 78 07 65 78 61 6d 70 6c 65 00
        00 01 00 01                                               the question, as above
        c0 0c 00 01 00 01 00 00 00 3c 00 04 0a 09 00 14           name of byte 12, A, IN, 60 s, 4 bytes
    """
    raise NotImplementedError("addresses is still to be written")


class Resolver:
    """Keeps the questions that wait, and finds the one that an answer belongs to."""

    def __init__(self, server: str) -> None:
        """Begin with no question. `server` is the address of the name server; its port is 53."""

    def ask(self, name: str, identifier: int, port: int) -> bytes:
        """Return the query for a name. It is sent from our UDP port `port`, and waits from now on.

        No two questions that wait have the same port and the same identifier.
        """
        raise NotImplementedError("ask is still to be written")

    def answer(self, port: int, source: tuple[str, int], message: bytes) -> tuple[str, list[str]] | None:
        """Take a message that arrived at our UDP port `port` from `source`, an address and a port.

        Return the name as it was given to `ask`, and its addresses, none where it has none. Then the
        question waits no more. Return None where no question that waits is answered, and let them wait on:
        the message must come from the server's address and port, reach the port that the question was sent
        from, be a response with the same ID, and have the same question, that is name, type and class. Small
        and capital letters are the same in a name. Whatever the message is, never raise.

        Example, from the lab's capture: after ask("www.demux.example", 0x1035, 61699) the message of frame 2
        is answer(61699, ("10.9.0.53", 53), message), which returns ("www.demux.example", ["10.9.0.20"]).
        """
        raise NotImplementedError("answer is still to be written")
