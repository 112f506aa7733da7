"""``SGDOptimizer`` of scikit-learn, which trains its multilayer perceptrons, as a target."""
