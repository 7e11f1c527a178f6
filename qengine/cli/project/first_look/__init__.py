"""The first look at a model and its data, which `qengine init` takes before it writes a project file.

`pictures` reads the sizes and colours of picture files, and says whether they must be resized. `candidates` lists the
preprocessings that networks are trained with, `trials` runs the model in float32 with each of them on a few samples,
and `verdicts` says which are plausible. `look` puts all of it together.
"""
