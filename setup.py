"""Packages as setuptools finds them, and conf/ as ssl_mnist.conf, which setup.cfg cannot say together. All else stands in setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["ssl_mnist", "ssl_mnist.*"]), "ssl_mnist.conf"], package_dir={"ssl_mnist.conf": "conf"})
