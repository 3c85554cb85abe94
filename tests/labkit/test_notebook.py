"""A lab and a decision show themselves in a notebook."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

from tests.report.captures import A, B, udp_packet

import demuxlab
from demuxlab import course
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.labkit.lab import Lab
from demuxlab.labkit.runner import load as load_lab
from demuxlab.links.memory import MemoryLink
from demuxlab.telling import html
from demuxlab.telling.socket_file import load

TABLE = """{"sockets": [
  {"name": "<b>any</b>", "protocol": "udp", "local": ["0.0.0.0", 53], "reuse_address": true},
  {"name": "dns", "protocol": "udp", "local": ["10.9.0.20", 53], "reuse_address": true}]}"""


def test_a_lab_shows_its_ladder():
    folder = course.find("04")
    lab = Lab(folder.name, MemoryLink(), tell=lambda _line: None)
    load_lab(folder)(lab)
    shown = lab._repr_html_()
    assert shown.startswith('<div class="demuxlab"><style>')
    assert shown.count("<details") == len(lab.journal.entries)
    assert ">A</text>" in shown
    assert "body {" not in shown, "the notebook keeps its own looks"


def test_a_decision_shows_who_lost_and_why():
    demultiplexer = Demultiplexer(explain=True)
    load(TABLE, demultiplexer.table)
    shown = html.of(demultiplexer.deliver(udp_packet((A, 1), (B, 53))))
    assert shown.startswith("<p>→ dns: two-tuple 10.9.0.20:53 takes 10.9.0.20:53")
    assert "<td>&lt;b&gt;any&lt;/b&gt;</td><td>a specific address beats the wildcard</td>" in shown


def test_importing_demuxlab_in_a_notebook_is_enough(monkeypatch):
    """A stand-in for IPython: `for_type(type, function)` is how it is asked to show a type."""
    shown = {}
    formatter = SimpleNamespace(for_type=shown.__setitem__)
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": formatter}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    importlib.reload(demuxlab)
    assert shown == {demuxlab.Delivery: html.of}


def test_importing_ipython_without_a_shell_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    html.show_in_notebooks()


def test_deciding_imports_no_template_engine():
    code = "import sys, demuxlab.demux.demultiplexer, demuxlab.labkit.lab; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
