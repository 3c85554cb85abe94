"""A decision as HTML: how a notebook shows a `Delivery`."""

import sys
from html import escape

from demuxlab.demux.delivery import Delivery
from demuxlab.language import _
from demuxlab.telling import reasons
from demuxlab.telling.comment import comment_of
from demuxlab.telling.decision import label


def of(delivery: Delivery) -> str:
    """Return the decision, and below it a table of the candidates that did not get the segment."""
    rows = "".join(
        f"<tr><td>{escape(label(loser.socket))}</td>"
        f"<td>{escape(reasons.write(loser.reason, loser.detail))}</td></tr>"
        for loser in delivery.losers
    )
    head = f"<tr><th>{_('candidate')}</th><th>{_('why it lost')}</th></tr>"
    sentence = f"<p>{escape(comment_of(delivery))}</p>"
    return sentence + (f"<table>{head}{rows}</table>" if rows else "")


def show_in_notebooks() -> None:
    """Make IPython show each `Delivery` as HTML, if this process is one of its kernels or shells."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        shell.display_formatter.formatters["text/html"].for_type(Delivery, of)
