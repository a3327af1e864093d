"""The parent of the kit's jobs beside a child that crashes, hangs, or says that its context has failed."""

import sys
import time

sys.path.insert(0, sys.argv[1])

from attn_kit.processes import PYTHON, Worker  # noqa: E402

CHILD = r"""
import json, os, sys, time
count = 0
print(json.dumps({"device": "none"}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    count += 1
    if job["do"] == "crash":
        os.abort()
    if job["do"] == "hang":
        time.sleep(60)
    print(json.dumps({"problem": None, "count": count, "broken": job["do"] == "break"}), flush=True)
    if job["do"] == "leave":
        sys.exit(3)
"""

worker = Worker([PYTHON, "-c", CHILD], sys.stderr, start_seconds=30)
assert worker.start() == {"device": "none"}
assert [worker.run({"do": "work"}, 30)["count"] for _ in range(3)] == [1, 2, 3]
assert "ended with" in worker.run({"do": "crash"}, 30)["problem"]
assert worker.run({"do": "work"}, 30)["count"] == 1
before = time.monotonic()
assert "did not answer within 1 s" in worker.run({"do": "hang"}, 1)["problem"]
assert time.monotonic() - before < 20
assert worker.run({"do": "break"}, 30)["count"] == 1
assert worker.run({"do": "leave"}, 30)["count"] == 1
time.sleep(0.5)
assert worker.run({"do": "work"}, 30)["count"] == 1
assert worker.starts == 5
worker.stop()
silent = Worker([PYTHON, "-c", "raise SystemExit(7)"], sys.stderr, start_seconds=30)
try:
    silent.start()
    raise SystemExit("a worker that ends at once has started")
except RuntimeError as error:
    assert "ended with 7" in str(error)
