"""How to let bubblewrap start, by the message that bwrap(1) ends with."""

from demuxlab.language import _

_ALONE = "bwrap --unshare-all --ro-bind / / true"


def cure(message: str) -> str:
    """Return what to do about a message of bwrap(1)."""
    if "Unknown option" in message:
        return _(
            "this bubblewrap is older than 0.8: install a newer one, as Debian 12 and Ubuntu 24.04 have it"
        )
    if "mount proc" in message:
        return _(
            "this container hides parts of /proc: start it with {option}",
            option="docker run --security-opt systempaths=unconfined",
        )
    if "make / slave" in message:
        return _(
            "this container forbids mounts: start it with {option}",
            option="docker run --security-opt apparmor=unconfined",
        )
    if "uid map" in message or "loopback" in message:
        # Since 23.10 Ubuntu's AppArmor gives a new user namespace no capabilities.
        return _(
            "AppArmor forbids user namespaces: {command}",
            command="sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if "max_" in message or "No space left" in message:
        return _("allow more namespaces: {command}", command="sudo sysctl user.max_user_namespaces=10000")
    if "namespace" in message:
        return _(
            "allow user namespaces: {command} (Debian, Ubuntu); in a container: {option}",
            command="sudo sysctl kernel.unprivileged_userns_clone=1",
            # The second one is what "mount proc" asks for: Docker's defaults forbid both.
            option="docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined",
        )
    if message.startswith("bwrap:"):
        return _("try it alone: {command}", command=_ALONE)
    # It said nothing: it hangs, or is not whole.
    return _(
        "try it alone: {command}; if that does not end either: {again}",
        command=_ALONE,
        again="sudo apt install --reinstall bubblewrap",
    )
