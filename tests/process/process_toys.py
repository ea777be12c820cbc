"""Processors that the tests share; in a module of their own, so that workers can import them."""

# ruff: noqa: ARG002 - hooks

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from skyloom.process import FileProcessor, SkipThis


class Toy(FileProcessor):
    """Does what the name of the identifier says."""

    def _create_auxiliaries(self, data):
        self.created = getattr(self, "created", 0) + 1
        self.results = []
        self.square = lambda x: x * x  # cannot be pickled: workers get it all the same

    def process(self, identifier):
        name = str(identifier)
        if "bad" in name:
            raise ValueError(f"{name} is bad")
        if "skip" in name:
            raise SkipThis
        if "exit" in name:
            raise SystemExit(7)
        if "die" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "slow" in name:
            time.sleep(60)
        return None if "none" in name else self.square(len(name))

    def classify(self, identifier):
        if "bad" in str(identifier):
            raise ValueError("no class")
        return "short" if len(identifier) < 4 else "long"

    def handle_result(self, identifier, result):
        self.results.append((identifier, result))


class Touch(FileProcessor):
    """Appends a line to a file beside each source, so that calls can be counted from outside."""

    def process(self, identifier):
        with Path(f"{identifier}.log").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if "bad" in identifier:
            raise ValueError("bad")


class Picklable(FileProcessor):
    """Can be sent to a fresh interpreter."""

    start_method = "spawn"

    def _create_auxiliaries(self, data):
        self.results = []

    def process(self, identifier):
        if identifier == "bad":
            raise ValueError("bad")
        return len(identifier)

    def handle_result(self, identifier, result):
        self.results.append((identifier, result))
