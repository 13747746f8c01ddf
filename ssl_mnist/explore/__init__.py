"""One page to look at embeddings, on which one draws a digit and sees where it lands. `python -m ssl_mnist.explore <run or sweep>`."""
