"""`python -m ssl_mnist`, the same as the console script `ssl-mnist`."""

from ssl_mnist.cli import main

if __name__ == "__main__":
    main()
