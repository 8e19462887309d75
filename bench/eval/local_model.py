"""A language model of this machine, in a process of its own with a Python that has the runtime: what crashes there ends nothing here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from bench.eval.weights import Unavailable, Weights, fetch, kept

HERE = Path(__file__).parent
RUNTIME = Path(os.environ.get("RECONVENE_MODEL_PYTHON") or HERE.parents[1] / "build" / "model" / "bin" / "python")
"""`make` puts it there."""


def why_not(weights: Weights, *, download: bool) -> str | None:
    """What is missing to run it, None when nothing is. `download`: weights that are not here do not count."""
    if not RUNTIME.exists():
        return f"the runtime is not installed ({RUNTIME.name} of build/model is not there; `make test-model` and `make eval` install it)"
    if not download and kept(weights) is None:
        return f"the weights of {weights.name} are not here (`make test-model` fetches them)"
    return None


class LocalModel:
    """Served on loopback until the `with` ends.

    Args:
        context: tokens. Memory grows with it.
        nice: how much it lets others go first, 0 to 19.

    Raises:
        Unavailable: the weights cannot be had, or the model does not start.
    """

    def __init__(self, weights: Weights, *, context: int = 8192, nice: int = 0, log: Path | None = None) -> None:
        self.weights = weights
        self._command = [str(RUNTIME), str(HERE / "serve_model.py"), str(fetch(weights)), str(context)]
        if nice:
            self._command = ["nice", "-n", str(nice), *self._command]
        self._log = log
        self.base_url = ""

    @property
    def name(self) -> str:
        """For pydantic-ai."""
        return f"constrained:openai:{self.weights.name}"

    @property
    def environ(self) -> dict[str, str]:
        """What a process that is to use it needs."""
        return {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_KEY": "none",
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    def __enter__(self) -> Self:
        with self._log.open("ab") if self._log else open(os.devnull, "ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:  # the runtime greets, too
            if line.startswith("http"):
                self.base_url = f"{line.strip()}/v1"
                return self
        self.__exit__()
        raise Unavailable(f"The model did not start ({self.process.returncode}).")

    def __exit__(self, *_: object) -> None:
        """It ends with its stdin; a request it is at is not waited for."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def main() -> None:
    """`python -m bench.eval.local_model NAME [CONTEXT]`: serve it until Enter is pressed."""
    from bench.eval.weights import BY_NAME

    with LocalModel(BY_NAME[sys.argv[1]], context=int(sys.argv[2]) if len(sys.argv) > 2 else 8192) as model:
        print(f"reconvene model openai:{model.weights.name} --constrained --base-url {model.base_url}")
        sys.stdin.readline()


if __name__ == "__main__":
    main()
