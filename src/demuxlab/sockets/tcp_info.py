"""TCP_INFO as bytes: struct tcp_info of Linux (include/uapi/linux/tcp.h)."""

import struct

_FIELDS = (
    *("B state", "B ca_state", "B retransmits", "B probes", "B backoff", "B options", "B wscales", "B flags"),
    *(
        "I rto",
        "I ato",
        "I snd_mss",
        "I rcv_mss",
        "I unacked",
        "I sacked",
        "I lost",
        "I retrans",
        "I fackets",
    ),
    *("I last_data_sent", "I last_ack_sent", "I last_data_recv", "I last_ack_recv"),
    *("I pmtu", "I rcv_ssthresh", "I rtt", "I rttvar", "I snd_ssthresh", "I snd_cwnd", "I advmss"),
    *("I reordering", "I rcv_rtt", "I rcv_space", "I total_retrans"),
    *("Q pacing_rate", "Q max_pacing_rate", "Q bytes_acked", "Q bytes_received"),
    *("I segs_out", "I segs_in", "I notsent_bytes", "I min_rtt", "I data_segs_in", "I data_segs_out"),
    *("Q delivery_rate", "Q busy_time", "Q rwnd_limited", "Q sndbuf_limited"),
    *("I delivered", "I delivered_ce", "Q bytes_sent", "Q bytes_retrans"),
    *("I dsack_dups", "I reord_seen", "I rcv_ooopack", "I snd_wnd"),
    *("I rcv_wnd", "I rehash", "H total_rto", "H total_rto_recoveries", "I total_rto_time"),
)
"""Each field's size in struct's letters, and its name without "tcpi_"."""
_FORMAT = struct.Struct("=" + "".join(field[0] for field in _FIELDS))
NAMES = frozenset(f"tcpi_{field[2:]}" for field in _FIELDS) - {"tcpi_wscales", "tcpi_flags"} | {
    *("tcpi_snd_wscale", "tcpi_rcv_wscale", "tcpi_delivery_rate_app_limited", "tcpi_fastopen_client_fail"),
}
"""Every field's name as linux/tcp.h has it."""
_LARGEST = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF, "Q": 0xFFFFFFFFFFFFFFFF}


def pack(info: dict[str, int]) -> bytes:
    """Return the struct for the fields of `info` ("tcpi_rtt", …); a field that is not there is 0.

    What is too large for its field is cut to the largest value, as Linux does with an unset ssthresh.
    """
    # Two bit fields of four bits share a byte, the first in the low half; two smaller ones share another.
    scales = info.get("tcpi_snd_wscale", 0) & 15 | (info.get("tcpi_rcv_wscale", 0) & 15) << 4
    flags = info.get("tcpi_delivery_rate_app_limited", 0) & 1
    flags |= (info.get("tcpi_fastopen_client_fail", 0) & 3) << 1
    values = {**info, "tcpi_wscales": scales, "tcpi_flags": flags}
    return _FORMAT.pack(*(min(values.get(f"tcpi_{field[2:]}", 0), _LARGEST[field[0]]) for field in _FIELDS))


def unpack(data: bytes) -> dict[str, int]:
    """Return the fields of a struct as the kernel gives it; an older kernel's is shorter and tells fewer."""
    info: dict[str, int] = {}
    at = 0
    for field in _FIELDS:
        value = struct.Struct("=" + field[0])
        if at + value.size > len(data):
            break
        info[f"tcpi_{field[2:]}"] = value.unpack_from(data, at)[0]
        at += value.size
    scales, flags = info.pop("tcpi_wscales", 0), info.pop("tcpi_flags", 0)
    return {
        **info,
        "tcpi_snd_wscale": scales & 15,
        "tcpi_rcv_wscale": scales >> 4,
        "tcpi_delivery_rate_app_limited": flags & 1,
        "tcpi_fastopen_client_fail": flags >> 1 & 3,
    }
