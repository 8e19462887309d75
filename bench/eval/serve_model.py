"""A language model behind Chat Completions on loopback, for as long as stdin is open; local_model.py runs it.

`python serve_model.py FILE.gguf CONTEXT`: prints its address once it answers. That Python has to have xllamacpp.
"""

import sys

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = int(sys.argv[2])
    params.n_parallel = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    # More threads wait for each other at a barrier, spinning: on a machine that does anything else one is faster.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main()
