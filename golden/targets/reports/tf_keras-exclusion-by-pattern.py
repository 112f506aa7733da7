import tensorflow as tf
import tf_keras

weight = tf.Variable([1.0], name="probe")
optimizer = tf_keras.optimizers.SGD(learning_rate=0.5, weight_decay=0.5)
# The name "probe" does not contain the string "pr.be".
optimizer.exclude_from_weight_decay(var_names=["pr.be"])
optimizer.apply_gradients([(tf.constant([0.0]), weight)])
print("expected: 1 - 1 * 0.5 * 0.5 = 0.75, since the weight decays")
print(f"actual: {weight.numpy()[0]}")
assert weight.numpy()[0] == 0.75
