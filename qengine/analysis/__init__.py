"""Analyses of a model, its costs and its losses: reports, inspection, blame, sweep, search and benchmarks."""
