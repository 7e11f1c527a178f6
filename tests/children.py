"""Child processes of tests: each begins with the default actions of signals, whatever the test run itself ignores."""

import signal
import subprocess


def _default_signals():
    """Undo what nohup and some CI runners set: a process inherits ignored signals from its parent."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(words, **options):
    """Start a command with its outputs as text, in a session of its own: its process group is it and its children."""
    return subprocess.Popen(
        [str(word) for word in words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        start_new_session=True,
        preexec_fn=_default_signals,
    )
