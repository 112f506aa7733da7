"""``paddle.optimizer.SGD`` and ``paddle.optimizer.Momentum`` of PaddlePaddle, as a target."""
