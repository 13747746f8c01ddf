class Tracker:
    def __init__(self, folder, settings, run): pass
    def __enter__(self): return self
    def __exit__(self, *a): pass
    def facts(self): return None
    def log(self, m): pass
    def figure(self, n, p): pass
    def table(self, *a): pass
    def artifact(self, *a): pass
    def summary(self, s): pass
