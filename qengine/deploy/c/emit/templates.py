"""Templates of C: the prefix of the network, and parts of the model."""

from __future__ import annotations

import re

from qengine.deploy.c.kernel_text import prefixed


def filled(template: str, prefix: str, **parts: object) -> str:
    """Return a template with the prefix of a network in place of "net", and then with its parts.

    Parameters
    ----------
    template
        Text of C whose names begin with `net_` and `NET_`; `@NAME@` stands for a part.
    prefix
        Prefix.
    parts
        Text by name. It may hold names of the model, which keep a beginning of "net_".
    """
    text = prefixed(template, prefix)
    return re.sub(r"@([a-z_]+)@", lambda match: str(parts[match[1]]), text)
