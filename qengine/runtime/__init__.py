"""Running of models: sessions, plans, native executors, and sections where the data decides shapes."""
