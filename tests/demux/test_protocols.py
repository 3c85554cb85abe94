"""The table of protocols: every rule and counter is in it once."""

from demuxlab.demux.protocols import BY_NAME, PROTOCOLS, RULES
from demuxlab.demux.socket import Socket
from demuxlab.demux.verdicts import Rule
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, from_text


def test_each_rule_belongs_to_one_protocol():
    assert len(RULES) == len(set(RULES))
    assert set(RULES) | {Rule.COPY} == set(Rule)


def test_names_are_those_of_the_headers():
    assert {number: protocol.name for number, protocol in PROTOCOLS.items()} == {
        number: ip.PROTOCOL_NAMES[number] for number in (ip.TCP, ip.UDP)
    }
    assert BY_NAME["udp"] is PROTOCOLS[ip.UDP]


def test_a_socket_has_the_rule_of_its_addresses():
    for protocol in PROTOCOLS.values():
        socket = Socket(protocol.number)
        socket.local_address = ANY_IPV4
        assert protocol.rule_of(socket) == protocol.rules[2]
        socket.local_address = from_text("10.9.0.20")
        assert protocol.rule_of(socket) == protocol.rules[1]
        socket.remote_address = from_text("10.9.0.10")
        assert protocol.rule_of(socket) == protocol.rules[0]
