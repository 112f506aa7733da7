import tensorflow as tf
import tf_keras

weight = tf.Variable([0.0], dtype="float64")
optimizer = tf_keras.optimizers.SGD(learning_rate=1.0, momentum=0.9)
for gradient in (1.0, 0.0):
    optimizer.apply_gradients([(tf.constant([gradient], "float64"), weight)])
print("expected: -1.9, in float64")
print(f"actual: {weight.numpy()[0]!r}, with the momentum 0.8999999761581421")
assert abs(weight.numpy()[0] + 1.9) < 1e-12
