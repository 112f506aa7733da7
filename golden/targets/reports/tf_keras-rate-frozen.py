import tensorflow as tf
import tf_keras

rates = iter([1.0, 0.5, 0.25, 0.125])
weight = tf.Variable([0.0])
optimizer = tf_keras.optimizers.SGD(learning_rate=lambda: next(rates))
for _ in range(2):
    optimizer.apply_gradients([(tf.constant([1.0]), weight)])
print("expected: -1.5, the sum of the first two rates")
print(f"actual: {weight.numpy()[0]}, since the callable is called once")
assert weight.numpy()[0] == -1.5
