"""``bitsandbytes.optim.SGD32bit`` on a CPU, as a target."""
