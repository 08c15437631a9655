"""A server in a process of its own: serve_program.py FOLDER [TOKEN]."""

import sys
import time

from moist.runtime import RoutedSession
from moist.serve import ServeSettings, serve


class Slow(RoutedSession):
    """Takes its time, so that something is in flight when a signal comes."""

    def predict(self, raw):
        time.sleep(0.5)
        return super().predict(raw)


if __name__ == "__main__":
    serve(sys.argv[1], Slow, port=0, settings=ServeSettings(watch_seconds=0))
