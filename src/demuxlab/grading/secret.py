"""The instructor's secret, from which the seeds of submissions come.

A seed is an HMAC (RFC 2104) over the lab and the submission: its learner, who has the file, cannot compute
it, and no change to a file can choose it. A failure's story names its seed, which repeats the failure.
"""

import hmac
import os
import secrets
from pathlib import Path

from demuxlab.errors import CallError
from demuxlab.files import reading, writing
from demuxlab.language import _

LEAST = 16
"""Bytes of a secret at least."""


def default_path() -> Path:
    """Return where the secret is kept if no other file is named (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "demuxlab", "grading-secret")


def load(path: Path | None) -> bytes:
    """Return the secret in a file; without one that in the default place, which is made there once.

    CallError where it cannot be read or made, or is shorter than `LEAST` bytes.
    """
    if path is None:
        path = default_path()
        with writing(path, _("name another file with --secret")):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_hex(32))
            except FileExistsError:
                pass
    with reading(path, _("name another file with --secret")):
        secret = path.read_bytes().strip()
    if len(secret) < LEAST:
        raise CallError(
            _("{path} has fewer than {count} bytes", path=path, count=LEAST), _("put a longer secret there")
        )
    return secret


def seed(secret: bytes, lab: str, digest: str) -> str:
    """Return the seed of a submission, 16 hexadecimal digits."""
    return hmac.digest(secret, f"{lab} {digest}".encode(), "sha256").hex()[:16]
