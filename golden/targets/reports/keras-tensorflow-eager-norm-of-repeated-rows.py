import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import tensorflow as tf

table = keras.Variable([[0.0]])
optimizer = keras.optimizers.SGD(learning_rate=1.0, clipnorm=1.0)
optimizer.build([table])
# The same row twice, as the gradient of an embedding has it: together it is 2.
optimizer.apply([tf.IndexedSlices(tf.constant([[1.0], [1.0]]), tf.constant([0, 0]), (1, 1))], [table])
print("expected: -1.0, since the gradient 2 is clipped to the norm 1")
print(f"actual: {float(table.value[0][0])}")
assert float(table.value[0][0]) == -1.0
