"""How to let bubblewrap start, by the message that bwrap(1) ends with."""

from demuxlab.language import _


def cure(message: str) -> str:
    """Return what to do about a message of bwrap(1)."""
    if "Unknown option" in message:
        return _("it is older than 0.8: install a newer one, as Debian 12 and Ubuntu 24.04 have it")
    if "mount proc" in message:
        return _(
            "this container hides parts of /proc: start it with {option}",
            option="docker run --security-opt systempaths=unconfined",
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
            "allow user namespaces: {command}; in a container: {option}",
            command="sudo sysctl kernel.unprivileged_userns_clone=1",
            option="docker run --security-opt seccomp=unconfined",
        )
    return _("try it alone: {command}", command="bwrap --unshare-all --ro-bind / / true")
