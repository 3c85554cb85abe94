"""ECN without a connection, and over a marking link."""

import pytest
from tests.transport.network import Network, transfer

from demuxlab.transport.tcp import ecn
from demuxlab.wire import packet, rewrite, tcp
from demuxlab.wire.ip import TCP, Fields
from demuxlab.wire.segment import ACK, CWR, ECE, SYN

ENDS = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def segment(flags=ACK, field=0, data=b"x"):
    built = tcp.build(*ENDS, 1, 2, data, flags=flags)
    return packet.read(packet.build(*ENDS, TCP, built, fields=Fields(traffic_class=field)))


@pytest.mark.parametrize(
    ("setting", "flags", "field", "answers", "agreed"),
    [
        (ecn.ACCEPT, SYN | ECE | CWR, 0, False, True),
        (ecn.ASK, SYN | ECE | CWR, 0, False, True),
        (ecn.OFF, SYN | ECE | CWR, 0, False, False),
        (ecn.ACCEPT, SYN | ECE, 0, False, False),
        (ecn.ACCEPT, SYN | ECE | CWR, 2, False, False),
        (ecn.ASK, SYN | ACK | ECE, 0, True, True),
        # A server that copies the reserved bits has agreed to nothing (RFC 3168, section 6.1.1).
        (ecn.ASK, SYN | ACK | ECE | CWR, 0, True, False),
        (ecn.ASK, SYN | ACK, 0, True, False),
        (ecn.ACCEPT, SYN | ACK | ECE, 0, True, False),
    ],
)
def test_what_two_syns_agree_on(setting, flags, field, answers, agreed):
    assert ecn.agreed(setting, segment(flags, field), answers=answers) is agreed


def test_a_mark_is_echoed_until_cwr():
    state = ecn.ECN()
    assert state.arrived(segment(field=3))
    assert state.mark(ACK, Fields(), new=False) == (ACK | ECE, Fields())
    assert not state.arrived(segment(field=3))
    assert state.arrived(segment(ACK | CWR, field=2))
    assert state.mark(ACK, Fields(), new=False) == (ACK, Fields())


def test_new_data_is_capable_and_carries_cwr_once():
    state = ecn.ECN()
    state.reduced = True
    assert state.mark(ACK, Fields(0xB8), new=False) == (ACK, Fields(0xB8))
    assert state.mark(ACK, Fields(0xB8), new=True) == (ACK | CWR, Fields(0xBA))
    assert state.mark(ACK, Fields(0xB8), new=True) == (ACK, Fields(0xBA))


class Marking(Network):
    """Marks each 50th ECN-capable packet."""

    capable = 0

    def _put(self, receiver, sent):
        traffic = rewrite.traffic_class(sent)
        if traffic & 3 == 2:
            self.capable += 1
            if self.capable % 50 == 0:
                sent = rewrite.with_ip_fields(sent, traffic | 3, 64)
        super()._put(receiver, sent)


@pytest.mark.parametrize("family", [4, 6])
def test_marks_slow_a_transfer_down_without_a_retransmission(family):
    network = Marking(family=family)
    client, server = network.establish(tune=lambda settings: setattr(settings, "ecn", ecn.ASK))
    data = bytes(1 << 20)
    assert transfer(network, client, server, data) == data
    info = client.info()
    assert info["tcpi_options"] & 8
    assert info["tcpi_total_retrans"] == 0
    assert info["tcpi_delivered_ce"] > 0
    assert info["tcpi_snd_ssthresh"] < 1000


def test_a_syn_cookie_keeps_the_agreement():
    network = Network()

    def tune(settings):
        settings.ecn, settings.half_open = ecn.ASK, 0

    client, server = network.establish(backlog=0, tune=tune)
    for endpoint in (client, server):
        assert endpoint.info()["tcpi_options"] & 8
