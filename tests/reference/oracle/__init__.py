"""The sweep's machinery: PyTorch's operator samples, run through PyTorch and through tinygrad_cnn, and compared.

`values`      tensors as plain descriptions, from which either library builds its own
`libraries`   the two libraries behind one small interface
`scope`       what is left out, and why
`operations`  the table: one row an operation, with every way to call it
`cases`       the samples of one row, in several dtypes and layouts, and what must raise
`perturb`     samples made wrong on purpose: whatever PyTorch rejects must be rejected
`compare`     one case through both libraries: values, dtypes, first and second derivatives, errors
"""
