"""The meaning of a model: its graph, its operators, the passes over it, and the format of each tensor."""
