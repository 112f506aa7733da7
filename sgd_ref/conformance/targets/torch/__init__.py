"""``torch.optim.SGD``, in each way that it goes through the parameters."""
