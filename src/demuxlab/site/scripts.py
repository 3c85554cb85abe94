"""The scripts of the pages: bundled by esbuild, with pyodide and wiregasm copied beside them."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

from demuxlab.errors import DemuxlabError
from demuxlab.language import _

WEB = Path(__file__).with_name("web")
_MODULES = WEB / "node_modules"
_ESBUILD = _MODULES / ".bin" / "esbuild"
_PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
_WIREGASM = ("LICENSE", "dist/wiregasm.js", "dist/wiregasm.wasm.gz", "dist/wiregasm.data.gz")
_PROFILE = ("demuxlab.lua", "profile/preferences")
"""What gives Wireshark our columns."""
LIBRARY = "assets/pyodide/python_stdlib.zip"
_IMPORTING = (
    *(("run", [lab, code]) for lab, code in (("04", "en"), ("08", "ko"), ("14", "en"))),
    *(("make_quiz", ["04", "name", "en"]), ("grade", ["04", "", "en"]), ("bytecode", [])),
)
"""Calls that import what a page needs, and the one that returns it as bytecode."""


def write(folder: Path) -> None:
    """Write scripts and style into folder/assets; DemuxlabError where npm's packages are not there."""
    if missing := [name for name in ("pyodide", "esbuild") if not (_MODULES / name).is_dir()]:
        raise DemuxlabError(
            _("{name} is not installed in {folder}", name=missing[0], folder=WEB),
            _("run npm ci --prefix {folder}", folder=WEB),
        )
    assets = folder / "assets"
    if (assets / "page.js").exists():
        shutil.rmtree(assets)  # of an earlier build
    _bundle("page.js", assets, "--splitting", "--format=esm", "--chunk-names=part-[hash]")
    _bundle("wireshark_worker.js", assets / "wireshark", "--format=iife")
    _bundle("style.css", assets)
    for name in ("worker.js", "interpreter.mjs"):
        shutil.copy(WEB / name, assets)
    _pyodide(assets / "pyodide")
    for name in _WIREGASM:
        shutil.copy(_MODULES / "@goodtools" / "wiregasm" / name, assets / "wireshark")
    for name in _PROFILE:
        shutil.copy(WEB.parents[1] / "wireshark" / name, assets / "wireshark")


def _bundle(source: str, to: Path, *options: str) -> None:
    call = [
        str(_ESBUILD),
        str(WEB / source),
        "--bundle",
        "--minify",
        "--target=es2022",
        f"--outdir={to}",
        *options,
    ]
    _output([*call, "--log-level=error"], "esbuild")


def compiled(folder: Path) -> dict[str, dict[str, bytes]]:
    """Let Node start the Python of a folder, and return `demuxlab.site.bytecode.bytecode` of it."""
    calls = "".join(json.dumps(call) + "\n" for call in _IMPORTING)
    answer = json.loads(
        _output(["node", str(WEB / "node.mjs"), str(folder)], "Node.js", calls).splitlines()[-1]
    )
    return {
        archive: {name: base64.b64decode(text) for name, text in files.items()}
        for archive, files in answer["value"].items()
    }


def _output(call: list[str], name: str, given: str = "") -> str:
    try:
        done = subprocess.run(call, capture_output=True, input=given, text=True, check=False)
    except OSError as error:
        raise DemuxlabError(
            _("{name} cannot be started ({why})", name=name, why=error), _("install Node.js 18 or later")
        ) from error
    if done.returncode:
        why = done.stderr.strip().partition("\n")[0]
        raise DemuxlabError(_("{name} failed: {why}", name=name, why=why), _("see {folder}", folder=WEB))
    return done.stdout


def _pyodide(to: Path) -> None:
    """Copy the interpreter, without the list of packages that it could load from elsewhere."""
    to.mkdir(parents=True, exist_ok=True)
    for name in _PYODIDE:
        shutil.copy(_MODULES / "pyodide" / name, to)
    lock = json.loads((_MODULES / "pyodide" / "pyodide-lock.json").read_text(encoding="utf-8"))
    (to / "pyodide-lock.json").write_text(json.dumps({**lock, "packages": {}}), encoding="utf-8")
