"""Data into and out of models: images, arrays, data sets, golden outputs, the bundled models."""
