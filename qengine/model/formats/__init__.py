"""Assignment of fixed-point formats to tensors."""
