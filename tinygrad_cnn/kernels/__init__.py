"""Numerical kernels: arrays in, arrays out; no tensors and no graph.

============== ===================================================================================
threads        the pool of threads and how work is cut into blocks
blas           BLAS held to one thread while the pool works
buffers        large arrays whose memory is reused once nobody sees it
gemm           matrix products in slices
elementwise    ReLU, its gradient, and any ufunc, over large arrays
accumulate     products, cumulative sums and norms along a dimension
padding        borders that repeat what is inside, and their adjoint
shapes         the output sizes of sliding windows
conv           convolution and its two gradients: three faces of one trilinear form
depthwise      the same for convolutions whose groups have one input channel each
normalize      moments over some axes, what they make of an array, and the gradient of that
layer_norm     the same with statistics for each row and weights for each column
softmax        softmax and its logarithm over one dimension, and their gradients
pool           maximum and average pooling, and their adjoints
============== ===================================================================================
"""
