"""Work with devices: golden packs for them, and the comparison with the codes that they compute."""
