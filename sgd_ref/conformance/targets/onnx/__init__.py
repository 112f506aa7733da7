"""The operator ``Momentum`` in the reference evaluator of ONNX, as a target."""
