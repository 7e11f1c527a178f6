"""How good a result is: one file for each metric, and the ratios that they share."""
