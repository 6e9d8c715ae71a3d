"""A small tensor library with reverse-mode automatic differentiation, on NumPy alone."""
