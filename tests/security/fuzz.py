"""Fuzz one target under atheris: `python fuzz.py TARGET SECONDS INPUTS SEED FOLDER [MUTATION]`, in the environment of `make security`.

Ends with 0 when nothing was found, with libFuzzer's own code otherwise; what was found lies in FOLDER. The number of inputs is in the
statistics that libFuzzer prints at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["reconvene.protocol", "reconvene.agents.edit_blocks", "reconvene.agents.edit_format",
                                         "reconvene.workspace.edits"]):  # fmt: skip
    import fuzz_targets

LONGEST = 4096
"""Bytes of one input."""


def main() -> None:
    target, seconds, inputs, seed, folder = sys.argv[1:6]
    if len(sys.argv) > 6:
        fuzz_targets.MUTATIONS[sys.argv[6]][1]()
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for n, text in enumerate(fuzz_targets.SEEDS[target]):
        (corpus / f"seed{n}").write_bytes(text)
    words = Path(folder) / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in fuzz_targets.WORDS[target]))
    options = [
        f"-max_total_time={seconds}", f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-dict={words}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], fuzz_targets.TARGETS[target])
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
