"""What a model means: the graph, its operators, the passes over it, and the format of each tensor."""
