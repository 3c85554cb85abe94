"""Starts Wireshark with the course's profile, in a configuration folder of its own.

WIRESHARK_CONFIG_DIR names that folder, so that the user's own profiles, recent files and plugins are not
changed. Only `install` writes into the user's folders.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from demuxlab.errors import CallError
from demuxlab.language import _

PROFILE = "demuxlab"
_FILES = Path(__file__).parent
_LUA = "demuxlab.lua"
_PLACES = (
    "/Applications/Wireshark.app/Contents/MacOS/Wireshark",
    "~/Applications/Wireshark.app/Contents/MacOS/Wireshark",
    "C:/Program Files/Wireshark/Wireshark.exe",
    "/mnt/c/Program Files/Wireshark/Wireshark.exe",
)
_START_SECONDS = 1.0
"""Seconds within which a Wireshark without a display has ended."""


class NoWireshark(CallError):
    """Wireshark cannot be started, or our profile not be installed."""


def find() -> str | None:
    """Return Wireshark's path: on PATH, in a macOS bundle, or among Windows' programs, also from WSL."""
    places = [Path(place).expanduser() for place in _PLACES]
    return shutil.which("wireshark") or next((str(place) for place in places if place.is_file()), None)


def show(capture: Path) -> None:
    """Open a capture in Wireshark; NoWireshark where it cannot be started or ends at once."""
    program = _program()
    process = _start(program, "-r", _as_seen_by(program, capture.resolve()))
    with suppress(subprocess.TimeoutExpired):
        if status := process.wait(_START_SECONDS):
            raise ended_at_once(status)


def follow() -> "subprocess.Popen[bytes]":
    """Start Wireshark on a pipe as standard input, for packets as they come; NoWireshark if it cannot."""
    return _start(_program(), "-k", "-i", "-", stdin=subprocess.PIPE)


def ended_at_once(status: int) -> NoWireshark:
    """Return the error of a Wireshark that ended by itself, with this exit status."""
    return NoWireshark(
        _("Wireshark ended at once with status {status}", status=status),
        _("start it by itself to see what it lacks"),
    )


def _program() -> str:
    program = find()
    if program is None:
        raise NoWireshark(
            _("Wireshark is not installed"), _("sudo apt install wireshark, or get it from wireshark.org")
        )
    shown = program.endswith(".exe") or sys.platform != "linux"
    if not shown and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoWireshark(
            _("there is no screen here for Wireshark"), _("take the capture to a computer that has one")
        )
    return program


def _start(program: str, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    folder = own_folder()
    lua = _as_seen_by(program, folder / _LUA)
    command = [program, "-C", PROFILE, "-X", f"lua_script:{lua}", *arguments]
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(folder)}
    if _is_beyond_wsl(program):
        # /p: WSL translates the path for Windows.
        shared = os.environ.get("WSLENV", "")
        environment["WSLENV"] = f"{shared}:WIRESHARK_CONFIG_DIR/p".lstrip(":")
    try:
        # A session of its own: Ctrl-C in this terminal does not reach Wireshark.
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise NoWireshark(
            _("{program} cannot be started ({why})", program=program, why=error.strerror),
            _("install Wireshark again"),
        ) from error


def own_folder() -> Path:
    """Return a configuration folder with the profile and nothing of the user's."""
    try:
        return _filled(_cache() / "demuxlab" / "wireshark")
    except OSError:
        return _filled(Path(tempfile.mkdtemp(prefix="demuxlab-wireshark-")))


def _filled(folder: Path) -> Path:
    _copy_profile(folder / "profiles" / PROFILE)
    shutil.copyfile(_FILES / _LUA, folder / _LUA)
    return folder


def _copy_profile(target: Path) -> None:
    """Copy the profile's files into a folder; OSError where it cannot be written."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((_FILES / "profile").iterdir()):
        # Wireshark keeps in `recent` how the user left the columns.
        if path.name != "recent" or not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)


def _cache() -> Path:
    variable, else_ = {
        "win32": ("LOCALAPPDATA", "~/AppData/Local"),
        "darwin": ("", "~/Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", "~/.cache"))
    return Path(os.environ.get(variable) or Path(else_).expanduser())


def _is_beyond_wsl(program: str) -> bool:
    return sys.platform == "linux" and program.endswith(".exe")


def _as_seen_by(program: str, path: Path) -> str:
    """Return a path as the program reads it: for a Windows program under WSL, its Windows name."""
    if not _is_beyond_wsl(program):
        return str(path)
    done = subprocess.run(["wslpath", "-w", str(path)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or str(path)


# Installing it into the user's own Wireshark


def install() -> list[Path]:
    """Copy profile, Lua script and extcap into the user's own Wireshark folders; return what was written.

    NoWireshark names a folder that may not be written.
    """
    folders = _folders()
    profile, lua, extcap = (folders[name] for name in ("profile", "lua", "extcap"))
    try:
        _copy_profile(profile)
        for folder in (lua, extcap):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_FILES / _LUA, lua / _LUA)
        return [profile, lua / _LUA, _write_extcap(extcap)]
    except OSError as error:
        raise NoWireshark(
            _("{path} cannot be written ({why})", path=error.filename, why=error.strerror),
            _("make it yours, or free its place"),
        ) from error


def _folders() -> Mapping[str, Path]:
    """Return the user's folders from tshark -G, or else those of Wireshark's User's Guide (B.4)."""
    if sys.platform == "win32":
        personal = Path(os.environ.get("APPDATA") or Path("~/AppData/Roaming").expanduser()) / "Wireshark"
        libraries = personal
    else:
        config = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
        personal = Path(os.environ.get("WIRESHARK_CONFIG_DIR") or Path(config) / "wireshark")
        libraries = Path("~/.local/lib/wireshark").expanduser()
    found = _tshark_folders()
    personal = found.get("Personal configuration", personal)
    return {
        "profile": personal / "profiles" / PROFILE,
        "lua": found.get("Personal Lua Plugins", libraries / "plugins"),
        # Before version 4.2 it lay beside the profiles, and tshark does not list it.
        "extcap": found.get("Personal Extcap path", personal / "extcap"),
    }


def _tshark_folders() -> dict[str, Path]:
    beside = Path(find() or "").parent
    tshark = shutil.which("tshark") or shutil.which("tshark", path=str(beside))
    if tshark is None:
        return {}
    done = subprocess.run([tshark, "-G", "folders"], capture_output=True, text=True, check=False)
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return {name: Path(path.strip()) for name, _colon, path in lines if path.strip()}


def _write_extcap(folder: Path) -> Path:
    """Write the extcap program, which lists the labs as interfaces, for this Python interpreter."""
    if sys.platform == "win32":
        path = folder / "demuxlab.bat"
        path.write_text(f'@"{sys.executable}" -m demuxlab.cli.extcap %*\r\n', encoding="utf-8")
        return path
    path = folder / "demuxlab"
    quoted = sys.executable.replace("'", "'\\''")
    path.write_text(f"#!/bin/sh\nexec '{quoted}' -m demuxlab.cli.extcap \"$@\"\n", encoding="utf-8")
    path.chmod(0o755)
    return path
