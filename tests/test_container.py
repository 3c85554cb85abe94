"""The container's recipe: its steps, run in a clean root made by debootstrap, give a course that works."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = ".devcontainer"
PATIENCE = 1800
"""Seconds for a step: packages are downloaded."""
IN_ROOT = """
set -e
mount --make-rprivate /
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -t sysfs sys "$1/sys"
exec chroot "$1" /bin/sh -c "$2"
"""


def steps(repository: Path) -> Iterator[tuple[str, str]]:
    """Yield the recipe's instructions: "RUN", and what it runs."""
    text = (repository / FOLDER / "Containerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        yield name, rest


class Root:
    """A root folder, in which the recipe's steps are run."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self._folder = folder
        self._repository = repository
        self._directory = "/"
        self._environment = {
            name: value for name, value in os.environ.items() if re.match("(?i)pip_|.*_proxy$|ssl_", name)
        }
        self._environment |= {"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def bootstrap(self, image: str) -> None:
        """Make what the image has: Debian's smallest set of packages."""
        release = re.fullmatch(r"docker\.io/library/debian:(\w+)-slim", image)
        assert release, image
        # The container's network is this machine's: its certificates and sources of packages are needed too.
        self._call("debootstrap", "--variant=minbase", release[1], str(self._folder))
        shutil.copy("/etc/resolv.conf", self._folder / "etc/resolv.conf")
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        if bundle.exists():
            shutil.copy(bundle, self._folder / "opt/certificates.crt")
            self._environment |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/opt/certificates.crt")

    def step(self, name: str, rest: str) -> None:
        """Do what an instruction says."""
        if name == "FROM":
            self.bootstrap(rest)
        elif name == "RUN":
            self.run(rest)
        elif name == "WORKDIR":
            self._directory = rest
            (self._folder / rest[1:]).mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            self._environment |= dict([rest.split("=", 1)])
        elif name == "COPY":
            *sources, target = rest.split()
            into = self._folder / self._directory[1:] / target
            for source in sources:
                path = self._repository / source
                if path.is_dir():
                    shutil.copytree(path, into, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, into)
        else:
            assert name == "CMD", name
            self.run(shlex.join(json.loads(rest)))

    def run(self, command: str) -> str:
        """Run a command in the root, with /dev and /proc of its own mount namespace; return its output."""
        script = f"cd {self._directory} && {command}"
        return self._call("unshare", "--mount", "--", "sh", "-c", IN_ROOT, "sh", str(self._folder), script)

    def _call(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@pytest.mark.long
@pytest.mark.timeout(3 * PATIENCE)
def test_the_recipe_works_in_a_clean_root(repository, tmp_path, need_root, need_tool):
    need_tool("debootstrap")
    root = Root(tmp_path / "root", repository)
    for name, rest in steps(repository):
        root.step(name, rest)
    assert "link: tun" in root.run("demuxlab run 04 2>&1")
    assert root.run("tshark -r captures/04_tcp_four_tuple.pcapng -Y 'tcp.stream == 1'").count("\n") == 6
    assert "passed" in root.run("pytest -q -n 2 tests/wire tests/mux tests/telling")
    solution = "--submission tests/solutions/04_tcp_four_tuple/reference.py"
    assert "25 of 25" in root.run(f"pytest -q labs/04_tcp_four_tuple {solution}")


def test_the_recipes_name_what_is_there(repository):
    for name, rest in steps(repository):
        if name == "COPY":
            assert all((repository / source).exists() for source in rest.split()[:-1]), rest
    made = json.loads((repository / FOLDER / "devcontainer.json").read_text(encoding="utf-8"))
    assert (repository / FOLDER / made["build"]["dockerfile"]).is_file()
    assert (repository / FOLDER / made["build"]["context"]).resolve() == repository
