"""What the scripts of the pages say, in the language in use. {name} is filled in by the script."""

from demuxlab.language import _, marked

_TEXTS = marked(
    {
        "loading": "Python is being loaded (about 25 MB, once) …",
        "importing": "Python starts …",
        "running": "Running …",
        "run_ok": "Done: every check of the run holds.",
        "run_bad": "Done: a check of the run failed. See what the run printed.",
        "checking": "Check {number}: {name}",
        "checked": "{points} of {max_points} points",
        "all_passed": "All checks passed: {points} of {max_points} points.",
        "no_points": "The exercise changed the checks themselves ({names}), so it gets no points.",
        "looped": "The check “{name}” did not end within {seconds} seconds. Python was stopped and started "
        "again. Is there a loop without an end in your file?",
        "no_memory": "Python needed more memory than it gets here (512 MB). It was stopped and started "
        "again. Does your file keep more and more?",
        "too_deep": "Calls lay too deep in each other for Python in a page. It was stopped and started "
        "again. Does a function of your file call itself without an end?",
        "run_looped": "Nothing happened for {seconds} seconds. Python was stopped and started again.",
        "failed": "This did not work: {why}",
        "passed": "passed",
        "not_passed": "failed",
        "points": "{points}/{max_points}",
        "packets_of_check": "The packets of this check",
        "save_packets": "Save them as a capture",
        "decision": "Decision",
        "steps": "Steps of the lookup",
        "bytes": "Bytes",
        "fields": "Fields",
        "no_decision": "This packet was sent by the host that was watched.",
        "right": "right",
        "wrong": "not right. Filter {filter}: frames {frames}",
        "quiz_save": "Save the capture",
        "quiz_mark": "Mark the answers",
        "quiz_result": "{right} of {of} answers are right.",
        "offline": "This page now works without a network.",
        "progress_lab": "{points}/{max_points} points",
        "progress_quiz": "quiz {right}/{of}",
        "loaded": "Progress loaded.",
        "not_loaded": "This file is not progress saved here.",
        "restored": "Your exercise was kept in this browser.",
        "reset": "Replace your exercise by the file as it was at the beginning?",
        "nothing_found": "Nothing found.",
        "wireshark": "Open in Wireshark here",
        "wireshark_loading": "Wireshark is being loaded (20 MB) …",
        "wireshark_label": "Display filter",
        "wireshark_licence": "This part is Wireshark, under the GNU General Public License, version 2.",
        "wireshark_ready": "{shown} of {count} frames",
        "wireshark_filter": "This filter has an error: {why}",
        "nobody": "No socket gets it.",
        "gets_it": "{winner} gets it.",
        "rule": "Rule: {rule}",
        "reply": "Answer: {reply}",
        "rst": "a TCP segment with RST",
        "port-unreachable": "ICMP port unreachable",
        "no_reply": "none",
        "socket": "Socket {number}",
    }
)


def texts() -> dict[str, str]:
    """Return the texts by their names."""
    return {name: _(text) for name, text in _TEXTS.items()}
