"""Every part built once, opened and closed in order. Nothing else constructs parts."""
