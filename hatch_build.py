"""Build hook: the kernels go into the wheel without the symbolic link that a checkout has for them.

In a checkout, `qengine/kernels` is a link to `kernels/`, and `.editable/qengine` one to `qengine/`. Where git makes no
links, as on Windows by default, text files stand in their place. A wheel is built right all the same; an editable
install needs the links, and says so.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LINKS = ("qengine/kernels", ".editable/qengine")


class LinksBuildHook(BuildHookInterface[Any]):
    """Hook of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the kernels to a wheel; stop an editable install of a checkout without links."""
        if version != "editable":
            build_data["force_include"]["kernels"] = "qengine/kernels"
        elif missing := [link for link in _LINKS if not (Path(self.root) / link).is_dir()]:
            raise SystemExit(
                f"{missing[0]} is not a symbolic link in this checkout, and an editable install needs it: clone again "
                "with git clone -c core.symlinks=true (on Windows, with developer mode on), or install without -e"
            )
