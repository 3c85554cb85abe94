"""Header prediction does what the general procedure does: the packets of whole connections are the same."""

from random import Random

import pytest
from tests.transport.network import Faults, Network

from demuxlab.transport.tcp import prediction

FAULTS = {
    "none": Faults(),
    "loss": Faults(loss=0.03),
    "late and repeated": Faults(reorder=0.05, repeat=0.05),
    "all": Faults(loss=0.02, repeat=0.02, reorder=0.02, corrupt=0.01),
}


def conversation(faults, seed, timestamps=True):
    """Return all packets of a conversation in both directions, with their times and senders."""
    network = Network(faults, seed, keep_log=True)

    def tune(settings):
        settings.timestamps = timestamps

    client, server = network.establish(tune=tune)
    random = Random(seed)
    for _turn in range(20):
        writer, reader = random.choice(((client, server), (server, client)))
        writer.write(bytes(random.choice((1, 20, 1448, 5000, 40_000))), network.now)
        network.run(lambda reader=reader: reader.readable, limit=random.choice((0.0, 0.02, 2.0)))
        reader.read(1 << 20, network.now)
    client.shutdown_write(network.now)
    network.run(limit=3.0)
    return network.log


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("faults", FAULTS)
def test_a_conversation_is_the_same_without_it(faults, timestamps, monkeypatch):
    predicted = []
    handle = prediction.handle_segment

    def counted(*arguments):
        predicted.append(handle(*arguments))
        return predicted[-1]

    monkeypatch.setattr(prediction, "handle_segment", counted)
    seeds = range(2)
    with_prediction = [conversation(FAULTS[faults], seed, timestamps) for seed in seeds]
    monkeypatch.setattr(prediction, "handle_segment", lambda *_arguments: False)
    assert with_prediction == [conversation(FAULTS[faults], seed, timestamps) for seed in seeds]
    assert sum(predicted) > (len(predicted) / 2 if faults == "none" else 0)
