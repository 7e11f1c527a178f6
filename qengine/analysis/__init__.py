"""What a model costs and where it loses: reports, inspection, blame, sweeps, search and benchmarks."""
