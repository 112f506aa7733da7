"""``SGDW`` of timm, the PyTorch Image Models, as a target."""
