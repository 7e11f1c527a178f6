"""Pages that are made when the documentation is built, from what the code declares: one file for each kind.

No page of these is in the repository. `all_pages` returns them by their path in the site; `docs/hooks.py` gives them to
MkDocs, and tests hold that they are complete. A page with the same facts by hand would be wrong one day.
"""

from generators import (
    api,
    commands,
    metrics,
    notebooks,
    operators,
    project_file,
    project_pages,
    roundings,
    schemas,
    sources,
    targets,
)
from generators.markdown import Pages

MAKERS = (
    commands,
    api,
    targets,
    operators,
    metrics,
    schemas,
    roundings,
    notebooks,
    project_file,
    project_pages,
    sources,
)


def all_pages() -> Pages:
    """Return the text of every generated file by its path in the site."""
    return {path: text for maker in MAKERS for path, text in maker.pages().items()}
