import numpy as np
import tensorflow as tf
import tf_keras

weight = tf.Variable([0.0])
optimizer = tf_keras.optimizers.SGD(learning_rate=4.0)
# The first update overflows; the second has no gradient, and there is no momentum.
for gradient in (3e38, 0.0):
    optimizer.apply_gradients([(tf.constant([gradient]), weight)])
print("expected: -inf, since without momentum the second update is 0")
print(f"actual: {weight.numpy()[0]}")
assert weight.numpy()[0] == -np.inf
