import tensorflow as tf
import tf_keras

first, second = tf.Variable([8.0]), tf.Variable([8.0])
optimizer = tf_keras.optimizers.SGD(learning_rate=4.0, use_ema=True, ema_momentum=0.5)
one = tf.constant([1.0])
optimizer.apply_gradients([(one, first), (one, second)])
optimizer.apply_gradients([(one, first), (None, second)])
optimizer.finalize_variable_values([first, second])
# The average begins with 8, and the weight is 4 after both steps.
print("expected: 0.5 * (0.5 * 8 + 0.5 * 4) + 0.5 * 4 = 5")
print(f"actual: {second.numpy()[0]}, since the second step does not average it")
assert second.numpy()[0] == 5.0
