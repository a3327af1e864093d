# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A child process of ./run: takes jobs as lines of JSON, answers each with one. It may crash; its parent starts another."""

import json
import os
import sys
import time
import traceback


def main(setup):
    # Answers go where the standard output was; what libraries print goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ.setdefault("ATTN_CHECK_DATA", "0")
    from . import bench, checks
    from .arrays import NumpyArrays, TorchArrays
    from .runtime import Library
    with open(os.path.join(setup["root"], "kit.json")) as file:
        kit = json.load(file)
    library = Library(os.path.join(setup["root"], "lib", "libattn.so"))
    device = library.open(setup["device"], setup["options"])
    if setup["arrays"] == "numpy":
        arrays = NumpyArrays()
    else:
        arrays = TorchArrays("cuda:0" if device.is_cuda else "cpu")
    session = checks.Session(setup["root"], library, device, arrays, kit)
    kinds = {function.__name__: function for function in
             (checks.check, checks.golden, checks.repeat, checks.corpus, bench.bench, bench.flex, bench.ceilings)}
    print(json.dumps({"device": device.name, "target": device.target, "multiprocessors": device.multiprocessors}),
          file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.time()
        broken = False  # a context that has failed stays so
        try:
            result = kinds[job["kind"]](session, job)
        except Exception as error:
            traceback.print_exc()
            result = {"problem": (str(error).splitlines() or [type(error).__name__])[0][:300]}
            try:
                arrays.synchronize()
            except Exception:
                broken = True
        result.update(started=start, ended=time.time(), broken=broken)
        print(json.dumps(result), file=answers, flush=True)
        if broken:
            return 3
        if arrays.is_cuda:
            arrays.xp.cuda.empty_cache()
    return 0


def warm(setup):
    """Loads programs, so that the machine code that the driver makes of them is in the cache on disk."""
    from .runtime import Error, Library
    device = Library(os.path.join(setup["root"], "lib", "libattn.so")).open(setup["device"], setup["options"])
    for folder in setup["folders"]:
        try:
            device.load(os.path.join(setup["root"], folder))
        except Error as error:
            print(f"{folder}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    sys.exit(warm(settings) if "folders" in settings else main(settings))
