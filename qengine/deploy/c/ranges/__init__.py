"""The least and the most code of every tensor."""
