// Tables of sockets for questions that people ask: [name, protocol, local address, port, remote address, port, option].
const B = "10.9.0.20";
const web = [["web", "tcp", "0.0.0.0", 80], ["P4", "tcp", B, 80, "10.9.0.10", 9157], ["P5", "tcp", B, 80, "10.9.0.30", 9157]];

export const EXAMPLES = {
  web: { sockets: web, packet: ["tcp", "10.9.0.30", 9157, B, 80, "ACK"] },
  wildcard: { sockets: [["any", "tcp", "0.0.0.0", 80, "", "", "reuse_port"], ["one", "tcp", B, 80, "", "", "reuse_port"]], packet: ["tcp", "10.9.0.10", 9157, B, 80] },
  udp: { sockets: [["any", "udp", "0.0.0.0", 5353, "", "", "reuse_address"], ["peer", "udp", B, 5353, "10.9.0.10", 5353, "reuse_address"]], packet: ["udp", "10.9.0.10", 5353, B, 5353] },
  same: { sockets: [["P6 listening", "tcp", "0.0.0.0", 8089], ["P6", "udp", B, 8089]], packet: ["udp", "10.9.0.30", 5775, B, 8089] },
  refused: { sockets: web, packet: ["tcp", "10.9.0.10", 9157, B, 81] },
  twice: { sockets: [["first", "tcp", "0.0.0.0", 80], ["second", "tcp", "0.0.0.0", 80]], packet: ["tcp", "10.9.0.10", 9157, B, 80] },
  dual: { sockets: [["both", "tcp", "::", 80]], packet: ["tcp", "10.9.0.10", 9157, B, 80] },
  udptwice: { sockets: [["first", "udp", B, 5000, "", "", "reuse_address"], ["second", "udp", B, 5000, "", "", "reuse_address"]], packet: ["udp", "10.9.0.10", 9157, B, 5000] },
  group: { sockets: [["worker 1", "tcp", "0.0.0.0", 80, "", "", "reuse_port"], ["worker 2", "tcp", "0.0.0.0", 80, "", "", "reuse_port"], ["worker 3", "tcp", "0.0.0.0", 80, "", "", "reuse_port"]], packet: ["tcp", "10.9.0.10", 9157, B, 80] },
};
