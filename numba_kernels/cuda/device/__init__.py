"""The kernels on the device: one does everything elementwise, and others compute the norms."""
