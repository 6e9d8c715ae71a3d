"""The primitive operations, one family a file: their values and, beside them, their derivatives."""
