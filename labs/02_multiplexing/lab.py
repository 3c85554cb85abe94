"""Lab 02: many processes, one link.

The sender gathers the data of its processes, puts a header on each piece and sends all down the one link:
multiplexing. At the receiver the transport layer splits what came and hands each piece to its process:
demultiplexing.
"""

from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.transport.udp import UDPEndpoint
from demuxlab.wire.address import from_text, to_text

MUCH, LITTLE = 1472, 972  # bytes of data: with the headers of UDP and IP 1500 and 1000


def run(lab: Lab) -> None:
    server = lab.host("server", "10.9.0.20")
    client1 = lab.host("client1", "10.9.0.10")
    client2 = lab.host("client2", "10.9.0.30")
    web, mail_port, chat, files = 80, 25, lab.port(8080), lab.port(8089)

    lab.step("One server, four processes. Each has a socket, and each socket a port of its own.")
    p1, p2 = opened(server, web, "P1"), opened(server, files, "P2")
    opened(server, mail_port, "mail server")
    opened(server, chat, "chat server")

    lab.step("Client 1, process P3, asks P1. Client 2, process P4, asks P2. The server has one link.")
    p3 = opened(client1, lab.port(9157), "P3", "browser")
    p4 = opened(client2, lab.port(5775), "P4")
    send(p3, b"P3 asks P1", server, web)
    send(p4, b"P4 asks P2", server, files)
    lab.replies()

    lab.step("P1 and P2 answer down the same link. Each header tells whose the data is.")
    answer_all(lab, "P1", p1)
    answer_all(lab, "P2", p2)
    lab.replies()

    lab.step("On client 1 run a browser (it is P3), a mail program and a messenger.")
    lab.say("They send, in this order: the browser 6 large pieces, mail 2, the messenger 1 short word.")
    mail = opened(client1, lab.port(9158), "mail")
    messenger = opened(client1, lab.port(9159), "messenger")
    asked = [(p3, f"browser {n}", MUCH, web) for n in range(1, 7)]
    asked += [(mail, f"mail {n}", LITTLE, mail_port) for n in range(1, 3)]
    asked += [(messenger, "messenger 1", len("messenger 1"), chat)]
    for own, name, size, port in asked:
        send(own, name.encode().ljust(size, b"."), server, port)
    before = lab.journal.frames
    lab.replies()

    lab.step(
        "Who got the link next: the processes took turns, so nobody waited for the browser's last piece."
    )
    carried = on_the_link(lab, before)
    order = [name for _, name in carried]
    sent = [name for _, name, _, _ in asked]
    lab.show_table(
        ("place on the link", "frame", "piece", "place when sent", "bytes of data"),
        [
            (number, frame, name, sent.index(name) + 1, asked[sent.index(name)][2])
            for number, (frame, name) in enumerate(carried, 1)
        ],
    )
    lab.step("Which datagram went to which socket, and by which rule:")
    lab.show_decisions()

    lab.step("What the theory says:")
    from_p3 = f"{client1.address}:{lab.port(9157)}"
    lab.check("P1 got what P3 sent, and nothing else", set(lab.got("P1")) == {from_p3})
    lab.check(
        "P2 got what P4 sent, and nothing else", lab.got("P2") == [f"{client2.address}:{lab.port(5775)}"]
    )
    lab.check("P3 got P1's answer", lab.got("P3") == [f"{server.address}:{web}"])
    lab.check("P4 got P2's answer", lab.got("P4") == [f"{server.address}:{files}"])
    lab.check("all nine pieces came over the one link", sorted(order) == sorted(sent))
    firsts = {"browser 1", "mail 1", "messenger 1"}
    lab.check("everybody's first piece went before anybody's second", set(order[:3]) == firsts)
    lab.check("the browser had the link to itself when the others were done", order[5:] == sent[2:6])
    kept = all([name for name in order if name in own] == own for own in (sent[:6], sent[6:8]))
    lab.check("the order within a process is kept", kept)


def opened(host: Host, port: int, name: str, process: str = "") -> UDPEndpoint:
    """Open a process's UDP socket on a port that it decides for."""
    return host.udp(host.address, port, name=name, process=process or name)


def send(own: UDPEndpoint, data: bytes, to: Host, port: int) -> None:
    """Hand data to the transport layer: it waits in the multiplexer until the link is free."""
    own.send_to(data, from_text(to.address), port)


def answer_all(lab: Lab, name: str, own: UDPEndpoint) -> None:
    """Answer every datagram that waits in a process's queue."""
    while (received := own.receive()) is not None:
        place = f"{to_text(received.address)}:{received.port}"
        lab.say("  {name} reads {data}, from {place}", name=name, data=received.payload, place=place)
        own.send_to(f"{name} answers".encode(), received.address, received.port)


def on_the_link(lab: Lab, before: int) -> list[tuple[int, str]]:
    """Return the frames after the frame `before`, each with the name that its data begins with."""
    later = [(entry.frame, entry.delivery.segment) for entry in lab.journal.entries if entry.frame > before]
    return [(frame, part.payload.decode().rstrip(".")) for frame, part in later if part is not None]


if __name__ == "__main__":
    main(__file__)
