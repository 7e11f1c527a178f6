"""What goes into a model and comes out of it: images, arrays, data sets, golden outputs, the bundled models."""
