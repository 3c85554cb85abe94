"""The scripts of the pages: bundled by esbuild, with pyodide and wiregasm copied beside them."""

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
    try:
        done = subprocess.run([*call, "--log-level=error"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise DemuxlabError(
            _("esbuild cannot be started ({why})", why=error), _("install Node.js 18 or later")
        ) from error
    if done.returncode:
        raise DemuxlabError(
            _("esbuild failed: {why}", why=done.stderr.strip().partition("\n")[0]),
            _("see {folder}", folder=WEB),
        )


def _pyodide(to: Path) -> None:
    """Copy the interpreter, without the list of packages that it could load from elsewhere."""
    to.mkdir(parents=True, exist_ok=True)
    for name in _PYODIDE:
        shutil.copy(_MODULES / "pyodide" / name, to)
    lock = json.loads((_MODULES / "pyodide" / "pyodide-lock.json").read_text(encoding="utf-8"))
    (to / "pyodide-lock.json").write_text(json.dumps({**lock, "packages": {}}), encoding="utf-8")
