"""Tools without a word of the product's domain."""
