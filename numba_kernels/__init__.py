"""Fast kernels that compute the bits of sgd-ref. They are not there yet: this package is empty."""
