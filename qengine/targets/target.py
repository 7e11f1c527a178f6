"""Target: a device by name, with its rules, its constraints and where they were read."""
