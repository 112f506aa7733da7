import numpy as np
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

weight = np.zeros(1)
optimizer = SGDOptimizer([weight], learning_rate_init=4.0, momentum=0.0, nesterov=False)
optimizer.update_params([weight], [np.array([1e308])])
# The first update overflows; the second has no gradient, and there is no momentum.
optimizer.update_params([weight], [np.array([0.0])])
print("expected: -inf, since without momentum the second update is 0")
print(f"actual: {weight[0]}")
assert weight[0] == -np.inf
