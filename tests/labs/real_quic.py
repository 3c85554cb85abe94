"""Write captures/16_real_quic.pcapng: two real QUIC connections between aioquic's client and server.

    python -m tests.labs.real_quic

needs aioquic (extra `judges`) and editcap. The comment of a client's frame says what a server does with it,
in the words of lab 16's exercise; the comment of a server's frame, which connection IDs it issues. Both are
encrypted (NEW_CONNECTION_ID, RETIRE_CONNECTION_ID); the capture has the TLS secrets, so Wireshark decrypts.
"""

import io
import ssl
import subprocess
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import RAW

CAPTURE = Path(__file__).resolve().parents[2] / "captures" / "16_real_quic.pcapng"
SERVER = ("10.9.0.20", 443)
HOME, REBOUND, MOBILE = ("10.9.0.10", 9157), ("10.9.0.10", 40001), ("10.9.0.30", 5775)
Address = tuple[str, int]


class Wire:
    """What the client and the server send, with virtual time: one millisecond a datagram."""

    def __init__(self, writer: PcapngWriter) -> None:
        self._writer = writer
        self._interface = writer.interface("home", RAW)
        self.now = 0.0

    def add(self, source: Address, destination: Address, data: bytes, comment: str) -> None:
        self.now += 0.001
        a, b = from_text(source[0]), from_text(destination[0])
        datagram = packet.build(a, b, ip.UDP, udp.build(a, b, source[1], destination[1], data))
        self._writer.packet(datagram, 1_700_000_000 + self.now, interface=self._interface, comment=comment)


class Pair:
    """A client's connection and the server's half of it; `source` is the address that the client has now."""

    def __init__(self, wire: Wire, name: str, certificate: dict[str, Any], secrets: io.StringIO) -> None:
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        self._wire, self._name, self.source = wire, name, HOME
        self.client = QuicConnection(
            configuration=QuicConfiguration(
                is_client=True, alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE, secrets_log_file=secrets
            )
        )
        self.client._local_active_connection_id_limit = 3
        self.client.connect(SERVER, now=wire.now)
        self.server = QuicConnection(
            configuration=QuicConfiguration(is_client=False, alpn_protocols=["echo"], **certificate),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.server._local_active_connection_id_limit = 3
        self._issued: set[bytes] = set()

    def say(self, data: bytes) -> None:
        """The client sends data on its stream, and both go on until neither has anything to send."""
        self.client.send_stream_data(0, data)
        self.run()

    def run(self) -> None:
        while sent := self.client.datagrams_to_send(self._wire.now):
            for data, _ in sent:
                self.deliver(data)
            for data, _ in self.server.datagrams_to_send(self._wire.now):
                new = [each.cid for each in self.server._host_cids if each.cid not in self._issued]
                self._issued.update(new)
                issues = f"; issues {', '.join(each.hex() for each in new)}" if new else ""
                self._wire.add(SERVER, self.source, data, self._name + issues)
                self.client.receive_datagram(data, SERVER, self._wire.now)

    def deliver(self, data: bytes) -> None:
        from aioquic.quic.events import ConnectionIdRetired

        self.server.receive_datagram(data, self.source, self._wire.now)
        comment = self._name
        while event := self.server.next_event():
            if isinstance(event, ConnectionIdRetired):
                comment += f"; retires {event.connection_id.hex()}"
        comment += "; closes" if self.server._close_event else ""
        self._wire.add(self.source, SERVER, data, comment)


def main() -> None:
    from aioquic.quic.packet import encode_quic_version_negotiation, pull_quic_header

    secrets = io.StringIO()
    file = io.BytesIO()
    wire = Wire(
        PcapngWriter(file, comment="two QUIC connections of aioquic, whose client changes its address")
    )
    certificate = self_signed()
    first, second = Pair(wire, "C1", certificate, secrets), Pair(wire, "C2", certificate, secrets)
    first.say(b"first question")
    second.say(b"another connection, same 4-tuple")
    first.source = REBOUND
    first.say(b"a NAT has given the client another port")
    first.client.change_connection_id()
    first.source = MOBILE
    first.say(b"the client is in another network")
    second.say(b"the second connection stayed")

    [(late, _)] = _datagrams(second, b"delayed on its way")
    second.client.close()
    second.run()
    wire.add(HOME, SERVER, late, "stateless reset")
    token = second.server._host_cids[0].stateless_reset_token
    wire.add(
        SERVER, HOME, bytes([0x40 | late[0] & 0x1F]) + late[3 : len(late) - 17] + token, "stateless reset"
    )

    [(initial, _)] = _datagrams(Pair(wire, "C3", certificate, io.StringIO()), b"")
    initial = initial[:1] + (0x1A2A3A4A).to_bytes(4, "big") + initial[5:]  # a version that nobody has
    wire.add(HOME, SERVER, initial, "version negotiation")
    from aioquic.buffer import Buffer

    header = pull_quic_header(Buffer(data=initial[:1] + b"\0\0\0\1" + initial[5:]), 8)
    answer = encode_quic_version_negotiation(
        source_cid=header.destination_cid, destination_cid=header.source_cid, supported_versions=[1]
    )
    wire.add(SERVER, HOME, answer, "version negotiation")
    write(file.getvalue(), secrets.getvalue())


def _datagrams(pair: Pair, data: bytes) -> list[Any]:
    if data:
        pair.client.send_stream_data(0, data)
    return list(pair.client.datagrams_to_send(0))[:1]


def write(capture: bytes, secrets: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, keys = Path(folder, "plain.pcapng"), Path(folder, "keys.txt")
        plain.write_bytes(capture)
        keys.write_text(secrets)
        subprocess.run(["editcap", "--inject-secrets", f"tls,{keys}", plain, CAPTURE], check=True)


def self_signed() -> dict[str, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "b.example")])
    start = datetime(2024, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    return {"certificate": certificate, "private_key": key}


if __name__ == "__main__":
    main()
