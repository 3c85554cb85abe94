"""The extcap program: Wireshark lists each lab as an interface, and capturing on it runs the lab.

The protocol is that of extcap(4). Wireshark calls this several times for each lab when it starts, so little
is imported before a capture begins.
"""

import argparse
import contextlib
import re
import sys
from pathlib import Path

from demuxlab import course
from demuxlab.labkit.folder import LabFolder

_LINKS = ("memory", "loopback", "tun")


def main(arguments: list[str] | None = None) -> int:
    """Answer one call; the exit status is 0, or 1 with a line on standard error that Wireshark shows."""
    try:
        return _answer(arguments)
    except Exception as error:
        from demuxlab.terminal import explained

        print(f"demuxlab: {explained(error)}", file=sys.stderr)
        return 1


def _answer(arguments: list[str] | None) -> int:
    call, _rest = _parser().parse_known_args(arguments)
    if call.extcap_interfaces:
        print("extcap {version=0.1}{display=demuxlab}")
        for folder in course.labs():
            print(f"interface {{value={_interface(folder)}}}{{display={_plain(folder.title)}}}")
        return 0
    if call.extcap_dlts:
        print("dlt {number=1}{name=EN10MB}{display=Ethernet}")
        return 0
    if call.extcap_config:
        print("arg {number=0}{call=--link}{display=Link}{tooltip=What carries the packets}{type=selector}")
        for kind in _LINKS:
            default = "{default=true}" if kind == _LINKS[0] else ""
            print(f"value {{arg=0}}{{value={kind}}}{{display={kind}}}{default}")
        return 0
    if call.capture and call.fifo:
        return _capture(call.extcap_interface, call.link, Path(call.fifo))
    print("demuxlab: this program is called by Wireshark: see demuxlab open --help", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demuxlab-extcap")
    for flag in ("--extcap-interfaces", "--extcap-dlts", "--extcap-config", "--capture"):
        parser.add_argument(flag, action="store_true")
    for option in ("--extcap-interface", "--extcap-version", "--extcap-capture-filter", "--fifo"):
        parser.add_argument(option, nargs="?", default="")
    parser.add_argument("--link", choices=_LINKS, default=_LINKS[0])
    return parser


def _interface(folder: LabFolder) -> str:
    return f"demuxlab-{folder.name}"


def _plain(title: str) -> str:
    """Return a title without the characters that separate fields in extcap's output."""
    return re.sub(r"[{}=`*]", "", title)


def _capture(interface: str, kind: str, fifo: Path) -> int:
    """Run a lab, in the full format, into Wireshark's pipe."""
    from demuxlab.labkit.lab import Lab
    from demuxlab.labkit.runner import load
    from demuxlab.links.choose import open_link
    from demuxlab.recording.full_recorder import FullRecorder

    folder = course.find(interface.removeprefix("demuxlab-"))
    script = load(folder)
    link, _sentence = open_link(kind)
    with contextlib.closing(link), fifo.open("wb", buffering=0) as file:
        comment = f"demuxlab {folder.name} over {link.kind}"
        recorder = FullRecorder(fifo, file, comment=comment, link=link.name)
        lab = Lab(folder.name, link, recorder, lambda _line: None)
        try:
            script(lab)
        except Exception as error:
            print(f"demuxlab: {folder.name}: {error}", file=sys.stderr)
            return 1
        finally:
            lab.finish()
            recorder.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
