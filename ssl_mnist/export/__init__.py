"""A trained encoder in the formats of other programs. `python -m ssl_mnist.export`; one file a format."""
