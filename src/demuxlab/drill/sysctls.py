"""Shell lines of a script: commands that set a sysctl are recognised, and no shell is ever run."""

import re

_SYSCTL = re.compile(r"sysctl(?:\s+-[a-z]+)*((?:\s+[\w./-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|\S+))+)\s*")
_SETTING = re.compile(r"([\w./-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|\S+)")
_ECHO = re.compile(r"echo\s+(\"[^\"]*\"|'[^']*'|[^>]+?)\s*>\s*/proc/sys/([\w./-]+)\s*")
_REDIRECTION = re.compile(r"\s*(?:[12&]?>\s*/dev/null|2>&1)\s*")
_SEPARATORS = re.compile(r"\n|;|&&")
_NAME = re.compile(r"net\.(ipv4|ipv6|core)(\.[A-Za-z0-9_-]+)+")


def read(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the sysctls that shell commands set, (name, value), and the commands that are ignored."""
    settings, ignored = [], []
    for line in _SEPARATORS.split(text):
        command = _REDIRECTION.sub(" ", line).strip()
        if not command or command.startswith("#"):
            continue
        found = _settings(command)
        if found:
            settings += found
        else:
            ignored.append(command)
    return settings, ignored


def _settings(command: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if match := _SYSCTL.fullmatch(command):
        pairs = _SETTING.findall(match[1])
    elif match := _ECHO.fullmatch(command):
        pairs = [(match[2], match[1])]
    found = [(name.replace("/", "."), value.strip("\"'").strip()) for name, value in pairs]
    # Only net.* is accepted: a script cannot write any other file below /proc/sys.
    return found if all(_NAME.fullmatch(name) for name, _value in found) else []
