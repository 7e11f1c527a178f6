"""A network as C99 that computes the codes of the runtime."""

from qengine.deploy.c.export import export_c
from qengine.deploy.c.options import COptions
from qengine.deploy.c.project import CProject
from qengine.deploy.c.verify import Verification

__all__ = ["COptions", "CProject", "Verification", "export_c"]
