"""Every page runs: its commands and examples work in order, and print what the page shows."""

import pytest
from docs.pages import pages
from docs.runner import AbsentError, Run

from docs import fixtures, special_files

PAGES = [page for page in pages() if page.blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.delenv("QENGINE_ISA", raising=False)  # as a user runs them: on native kernels
    fixtures.fill(tmp_path, page.name)
    try:
        Run(page, tmp_path, special_files.OPTIONAL)()
    except AbsentError as reason:
        pytest.skip(str(reason))
