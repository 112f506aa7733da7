"""What runs on the device: one kernel for everything elementwise, and those for the norms."""
