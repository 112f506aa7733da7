"""How ``sgd-ref regenerate`` makes the kept data: a recipe for each part of them."""
