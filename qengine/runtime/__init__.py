"""How a model runs: sessions, plans, the native executor, and what the data decides."""
