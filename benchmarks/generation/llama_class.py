"""llama-cpp-python's `Llama` in a process of its own, as a program without the hub would use it.

`python -m benchmarks.generation.llama_class FILE CONTEXT_LENGTH` reads a line of JSON for each request, and writes one for
each answer.
"""

import json
import sys
import time

import llama_cpp
import psutil


def serve(model_file: str, context_length: int) -> None:
    """Answer until standard input ends."""
    threads = psutil.cpu_count(logical=False) or 1
    model = llama_cpp.Llama(
        model_file, n_ctx=context_length, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    vocabulary = llama_cpp.llama_model_get_vocab(model._model.model)
    ends = {
        token: -1e9 for token in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocabulary, token)
    }
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        messages, tokens = json.loads(line)
        first_at, pieces = 0.0, []
        for chunk in model.create_chat_completion(
            messages, temperature=0.0, max_tokens=tokens, stream=True, logit_bias=ends
        ):
            if text := chunk["choices"][0]["delta"].get("content"):
                first_at = first_at or time.perf_counter()
                pieces.append(text)
        print(json.dumps(["".join(pieces), first_at, time.perf_counter()]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
