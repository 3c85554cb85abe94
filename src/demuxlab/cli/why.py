"""`demuxlab why`: contract 9."""

import json
from collections.abc import Iterable

import click

from demuxlab import layout
from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, from_text, unmapped

_PROTOCOLS = {"tcp": ip.TCP, "udp": ip.UDP}


@click.command(
    name="why",
    help=_(
        "Say which of this machine's sockets gets a packet to ADDRESS:PORT: why tcp 127.0.0.1:80.\n\n"
        "With bind first, say whether ADDRESS:PORT may be bound, and what is in the way: why bind tcp "
        "0.0.0.0:80. As an ordinary user it says what it could not see; sudo sees all."
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="[bind] tcp|udp ADDRESS:PORT")
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS:PORT",
    help=_("The packet's sender: default any without a connection."),
)
@click.option("--device", default="", metavar="NAME", help=_("The device that the packet comes in on."))
@click.option(
    "--to", "peer", metavar="ADDRESS:PORT", help=_("With bind: count the ephemeral ports left to it.")
)
@click.option("--reuse-address", is_flag=True, help=_("With bind: the socket has SO_REUSEADDR."))
@click.option("--reuse-port", is_flag=True, help=_("With bind: the socket has SO_REUSEPORT."))
@click.option("--explain", is_flag=True, help=_("Tell the lookup step by step."))
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object on standard output."))
def command(
    words: tuple[str, ...],
    sender: str | None,
    device: str,
    peer: str | None,
    reuse_address: bool,
    reuse_port: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Explain the kernel's own sockets."""
    binds = words[0] == "bind"
    asked = words[1:] if binds else words
    if len(asked) != 2 or asked[0] not in _PROTOCOLS:
        raise _not_understood(words, asked)
    protocol, (address, port) = _PROTOCOLS[asked[0]], _endpoint(asked[1])
    if binds:
        _bind(protocol, address, port, peer, reuse_address, reuse_port, as_json)
    else:
        zone = asked[1].partition("%")[2].rpartition("]")[0]
        _packet(protocol, unmapped(address), port, sender, device or zone, explain, as_json)


def _not_understood(words: tuple[str, ...], asked: tuple[str, ...]) -> CallError:
    """Return what is missing of a question, with the question as it was probably meant."""
    verb = "why bind" if words[0] == "bind" else "why"
    protocol = next((word for word in asked if word in _PROTOCOLS), "tcp")
    where = next((word for word in asked if ":" in word), "127.0.0.1:80")
    if protocol not in asked and len(asked) < 2:
        problem = _("tcp or udp is missing")
    elif asked == (protocol,):
        problem = _("address and port are missing")
    elif len(asked) == 2 and protocol not in asked:
        problem = _("{word} is neither tcp nor udp", word=asked[0])
    else:
        problem = _("{words} is no question", words=" ".join(words))
    return CallError(problem, _("ask {question}", question=f"{verb} {protocol} {where}"))


def _packet(
    protocol: int, address: bytes, port: int, sender: str | None, device: str, explain: bool, as_json: bool
) -> None:
    from demuxlab.kernel import ask, text
    from demuxlab.kernel.decision import Question

    source, source_port = _endpoint(sender) if sender else (b"", 0)
    source = unmapped(source) if source else b""
    if source and len(source) != len(address):
        raise CallError(_("{sender} has the other address family", sender=sender), _("give both the same"))
    question = Question(protocol, address, port, source, source_port, device)
    answer, found = ask.ask(question)
    if as_json:
        click.echo(json.dumps(text.answer_as_json(question, answer, found, explain)))
    else:
        _print(text.answer_as_lines(question, answer, found, explain))


def _bind(
    protocol: int,
    address: bytes,
    port: int,
    peer: str | None,
    reuse_address: bool,
    reuse_port: bool,
    as_json: bool,
) -> None:
    from demuxlab.kernel import may_bind, text

    wanted = may_bind.wanted(protocol, address, port, reuse_address, reuse_port)
    answer = may_bind.ask(wanted, _endpoint(peer) if peer else None)
    if as_json:
        click.echo(json.dumps(text.bind_as_json(wanted, answer)))
    else:
        _print(text.bind_as_lines(wanted, answer))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(layout.paragraph(line) if "\n" not in line else line)


def _endpoint(text: str) -> tuple[bytes, int]:
    """Return the address and port of "10.0.0.1:80", "[fd09::1]:80", "*:80" or ":::80"."""
    address, _colon, port = text.rpartition(":")
    try:
        number = int(port)
        if not 0 <= number <= 65535:
            raise ValueError(text)
        bare = address.removeprefix("[").removesuffix("]").partition("%")[0]
        return (ANY_IPV4 if bare in ("", "*") else from_text(bare)), number
    except ValueError:
        raise _no_endpoint(text, address, port) from None


def _no_endpoint(text: str, name: str, port: str) -> CallError:
    """Return why a text is no address and port, with the port that was typed in the cure."""
    named = port.isascii() and port.isdecimal() and int(port) <= 65535
    number = port if named else "80"
    cure = _("write {first} or {second}", first=f"127.0.0.1:{number}", second=f"[::1]:{number}")
    if (name or port).lower() == "localhost":
        return CallError(_("localhost is a name, and it has two addresses"), cure)
    plain = name.replace("-", "").replace(".", "")
    if named and plain.isalnum() and not plain.isdecimal():
        cure = _("ask about one of its addresses: {command}", command=f"getent ahosts {name}")
        return CallError(_("{name} is a name, and sockets have addresses", name=name), cure)
    return CallError(_("{endpoint} is no address and port", endpoint=text), cure)
