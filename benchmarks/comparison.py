"""The three default recipes, one seed each, in one multirun with evaluation, all figures and the page, as a user would run it.

    python benchmarks/comparison.py [overrides, as on the command line]

Prints `seconds: X`, of the whole command, and the peak memory of its largest process.
"""

import resource
import subprocess
import sys
import tempfile
import time

started = time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    words = ["-m", "method=autoencoder,rotation,simclr", f"hydra.sweep.dir={folder}/sweep", "data.fallback=error", *sys.argv[1:]]
    subprocess.run([sys.executable, "-m", "ssl_mnist", *words], check=True)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # macOS: bytes, Linux: KiB
print(f"seconds: {seconds:.1f}")
print(f"peak: {peak / 2**30:.2f} GiB, of the largest process")
