"""Targets: the rules and constraints of devices, bundled and from files of a user.

`schema` has every key of a target's file, `constraints` what a device allows, `target` the targets themselves.
"""

from qengine.targets.constraints import Constraints, Violation
from qengine.targets.target import Target, names

__all__ = ["Constraints", "Target", "Violation", "names"]
