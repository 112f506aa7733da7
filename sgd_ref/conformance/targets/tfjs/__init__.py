"""TensorFlow.js, ``tf.train.sgd`` and ``tf.train.momentum``, as a target."""
