"""Numerical kernels: arrays in, arrays out; no tensors and no graph.

Each group builds on those above it.

Threads and memory

================ =================================================================================
threads          the pool of threads and how work is cut into blocks
bells            waiting for another thread, awake
blas             BLAS held to one thread while the pool works
buffers          large arrays whose memory is reused once nobody sees it
runs             operands that repeat, which NumPy is kept from writing out
shapes           slices of equal length, and the output sizes of sliding windows
================ =================================================================================

Ways to go through arrays

================ =================================================================================
elementwise      ReLU, its gradient, any ufunc, and functions of several steps, over large arrays
layouts          copies into another memory layout
lines            an array as lines along one of its dimensions
small_arrays     arithmetic with arrays that repeat along some axes, and sums into such
reduction        sums, products and extremes over some axes
windows          sliding windows, tap by tap
gemm             matrix products in slices
gather           picking and adding along a dimension, at given positions
positions        the same in the planes of images
================ =================================================================================

Operations

================ =================================================================================
activation       activation functions and their gradients, step by step
powers, erf      powers that are products and roots; the error function
regression_loss  losses between two arrays
accumulate       products, cumulative sums and norms along a dimension
order            the positions of elements in order
softmax          softmax and its logarithm over one dimension, and their gradients
cross_entropy    the cross-entropy of the softmax of scores, and its gradient
unit_vectors     vectors divided by their lengths
normalize        moments over some axes, what they make of an array, and the gradient of that
layer_norm       the same with statistics for each row and weights for each column
plain_norm       the same for small arrays
padding          borders with a value, or that repeat what is inside, and their adjoint
geometry         the sizes of one convolution, and its work cut into blocks
patches          how a convolution becomes a matrix product
conv             convolution and its two gradients: three faces of one trilinear form
conv_input_grad  the second of these
depthwise        the same for convolutions whose groups have one input channel each
unfold           patches of an image as columns, and its adjoint
pool             maximum and average pooling (`max_pool`, `max_pool_tiles`, `avg_pool`), and their adjoints
stochastic_pool  a random element of each window
interpolate      images of another size
resample         images read at places between their pixels
================ =================================================================================
"""
