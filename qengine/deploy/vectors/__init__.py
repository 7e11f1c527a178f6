"""Golden packs for hardware teams: codes of every tensor, searched edge vectors, a mutation score and test benches."""

from qengine.deploy.vectors.export import export_vectors
from qengine.deploy.vectors.options import VectorOptions
from qengine.deploy.vectors.pack import Pack

__all__ = ["Pack", "VectorOptions", "export_vectors"]
