"""``SGD`` of tf_keras, which is Keras 2, as a target."""
