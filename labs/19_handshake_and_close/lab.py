"""Lab 19: how a connection begins and ends when segments are late, forged, lost, or cross each other.

A's segments are crafted, so that it can crash, forge and be silent; B's TCP decides by their numbers.
"""

from scapy.layers.inet import IP, TCP

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main


class Crafted:
    """A, whose segments are crafted, and B, a program on our TCP. Notes each frame and B's state after it."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host = lab, lab.host("B", "10.9.0.20")
        self.program, self.rows, self._frames = lab.program("B", self.host), list[tuple[object, ...]](), 0
        self.address, self.port, self.to = lab.sender("A", "10.9.0.10").address, lab.port(9157), lab.port(80)

    def send(self, flags: str = "", seq: int = 0, ack: int = 0, wait: float = 0) -> list[TCP]:
        """Send a segment of A's, none without flags; let time pass; return what B has sent."""
        tcp = TCP(sport=self.port, dport=self.to, flags=flags, seq=seq, ack=ack % 2**32)
        answers = self.lab.send(IP(src=self.address, dst=self.host.address) / tcp) if flags else []
        self.lab.wait(wait)
        answers = [packet[TCP] for packet in answers + self.lab.replies()]
        for each in [tcp, *answers] if flags else answers:
            self._frames += 1
            way, number = "A → B" if each is tcp else "A ← B", each.ack if each.flags.A else "–"
            self.rows.append((self._frames, way, each.flags, each.seq, number, self.state()))
        return answers

    def open(self, seq: int) -> int:
        """Shake hands; return B's next number."""
        [answer] = self.send("S", seq)
        self.send("A", seq + 1, answer.seq + 1)
        return int(answer.seq) + 1

    def state(self) -> str:
        """Return the state of B's connection with this port of A's."""
        entries = [entry for entry in self.host.demultiplexer.table if entry.remote_port == self.port]
        return entries[-1].handler.state.value if entries else "CLOSED"

    def show(self) -> None:
        """Print the frames since the last time."""
        self.lab.show_table(("frame", "way", "flags", "SEQ", "ACK", "B's state"), self.rows)
        self.rows.clear()


def run(lab: Lab) -> None:
    a = Crafted(lab)
    web = a.program.socket(name="web", connections=["old", "P1", "P2", "P3"])
    web.bind((a.host.address, a.to))
    web.listen(5)
    lab.step("An old duplicate SYN arrives first. A resets what it has not asked for, and connects.")
    [wrong] = a.send("S", 90)
    a.send("R", wrong.ack)
    gone = a.state() == "CLOSED"
    a.open(1000)
    a.show()
    lab.check("the RST has B's next number: it ends what the old SYN began", gone)
    lab.step("Three RSTs: outside B's window, inside it, and with exactly the number that B expects.")
    challenges = [[answer.ack for answer in a.send("R", seq, wait=1)] for seq in (2**30, 1002, 1001)]
    a.show()
    lab.check("in the window: a challenge ACK; only the exact one ends it", challenges == [[], [1001], []])
    lab.step("A half-open connection: A crashes, comes back, and connects from the same port.")
    before, after = lab.number(2000, 2000, 2900), lab.number(7000, 6000, 7900)
    expected = a.open(before)
    [challenge] = a.send("S", after)
    a.send("R", challenge.ack)
    a.open(after)
    a.show()
    numbers = challenge.seq, challenge.ack
    lab.check("B's challenge ACK has its old numbers", numbers == (expected, before + 1))
    lab.step("Both close at once: the FINs cross. 30 seconds later A's FIN comes again.")
    next(data for data in iter(lambda: web.accept()[0], None) if data.name == "P3").close()
    [fin] = a.send()
    a.send("FA", after + 1, fin.seq)
    a.send("A", after + 2, fin.seq + 1, wait=30)
    [again] = a.send("FA", after + 1, fin.seq + 1, wait=59)
    waits = a.state() == "TIME-WAIT"
    lab.wait(2)
    a.show()
    lab.check("the FIN that comes again is acknowledged again", again.ack == after + 2)
    lab.check("2 MSL begin again: 60 seconds from then on", waits and a.state() == "CLOSED")
    connect(lab, a)
    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()


def connect(lab: Lab, a: Crafted) -> None:
    def connect_to_a(name: str, far: int, near: int) -> None:
        a.port, a.to = lab.port(far), lab.port(near)
        socket = a.program.socket(name=name)
        socket.bind((a.host.address, a.to))
        socket.setblocking(False)
        socket.connect_ex((a.address, a.port))

    lab.step("Both connect at once: the SYNs cross.")
    connect_to_a("both", 26145, 5775)
    [syn] = a.send()
    a.send("S", 300)
    a.send("SA", 300, syn.seq + 1)
    a.show()
    lab.check("four segments with SYN, and one connection", a.state() == "ESTABLISHED")
    lab.step("B connects, and A is silent. After 8 seconds a forged RST comes, then a real one.")
    connect_to_a("silent", 6428, 53091)
    syn, *again = a.send(wait=8)
    a.send("RA", 0, syn.seq + 5000)
    waits = a.state() == "SYN-SENT"
    a.send("RA", 0, syn.seq + 1)
    a.show()
    lab.check("a RST that does not acknowledge the SYN is not believed", waits)
    lab.check("B sent its SYN again after 1, 3 and 7 seconds", len(again) == 3)


if __name__ == "__main__":
    main(__file__)
