"""The optimizer for CPUs: plan, kernels, norms, threads and the cache of compiled code."""
