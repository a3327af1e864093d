"""Compares the tiles that kernels with bits execute in the simulator with those that have a pair of the bits and one of the
mask around them, and the results on both targets with the reference."""

import json
import os
import subprocess
import sys
import numpy as np

BIN, FOLDER = sys.argv[1:]
QUERIES, TILE = 90, 16
PER_TILE = 4  # m16n8k16 products of a tile of 16 x 16 with heads of 16


def run(mask, data, keys, bits, device, known=True):
    """The products of m16n8k16 that the simulator executes; on the host only the result is checked."""
    q, k = f"tensor<1x1x{QUERIES}x16xbf16>", f"tensor<1x1x{keys if known else '?'}x16xbf16>"
    path = os.path.join(FOLDER, "bits.mlir")
    with open(path, "w") as file:
        file.write(f"""func.func @f(%q: {q}, %k: {k}, %v: {k}, %m: {data}) -> {q} {{
  %o = attn.attention %q, %k, %v mask({mask})
      schedule(#attn.schedule<q_tile = {TILE}, kv_tile = {TILE}, warps = 1, stages = 2, q_in_registers = false>)
      : ({q}, {k}, {k}, {data}) -> {q}
  return %o : {q}
}}
""")
    random = np.random.default_rng(2)
    files = []
    for name, array in [("q", random.standard_normal((1, 1, QUERIES, 16))), ("k", random.standard_normal((1, 1, keys, 16))),
                        ("v", random.standard_normal((1, 1, keys, 16))), ("m", bits)]:
        files.append(os.path.join(FOLDER, name + ".npy"))
        np.save(files[-1], array)
    report = os.path.join(FOLDER, "report.json")
    subprocess.run([os.path.join(BIN, "attn-run"), path, f"--device={device}", "--check", "--report=" + report]
                   + ["--input=" + file for file in files], check=True, stdout=subprocess.DEVNULL)
    if device == "host":
        return None
    with open(report) as file:
        launches = json.load(file)["observed"]["launches"]
    return sum(launch["report"]["counters"]["by_opcode"].get("mma", 0) for launch in launches)


def check(mask, rows, keys, columns, element, live, seed):
    """`live` makes, from the bits and the positions of queries and keys, the sets that a tile must each have a pair of."""
    # Few tiles have a bit, and few bits.
    random = np.random.default_rng(seed)
    across = 1 if columns == 1 else TILE
    tiles = random.random((-(-rows // TILE), -(-columns // TILE))) < 0.3 if columns > 1 else np.arange(6)[:, None] % 2 == 0
    bits = np.kron(tiles, np.ones((TILE, across), bool))[:rows, :columns] & (random.random((rows, columns)) < 0.4 / across)
    if "!bits" in mask:
        bits = ~bits
    j = np.arange(keys)[None]
    p = np.arange(QUERIES)[:, None] + keys - QUERIES
    sets = [np.broadcast_to(pairs, (QUERIES, keys)) for pairs in live(np.broadcast_to(bits, (QUERIES, keys)), p, j)]
    expected = total = 0
    for first in range(0, QUERIES, TILE):
        for key in range(0, keys, TILE):
            total += 1
            expected += all(pairs[first:first + TILE, key:key + TILE].any() for pairs in sets)
    assert 0 < expected < total
    data = f"tensor<1x1x{rows}x{columns}x{element}>"
    array = bits[None, None] if element == "i1" else bits[None, None] * np.int8(3)
    found = run(mask, data, keys, array, "sim") / PER_TILE
    run(mask, data, keys, array, "host")
    print(mask, data, expected, "of", total, "tiles:", "as executed" if found == expected else f"executed {found}")


os.makedirs(FOLDER, exist_ok=True)
check("bits(%m)", QUERIES, 208, 208, "i8", lambda m, p, j: [m], 1)
check("bits(%m)", QUERIES, 203, 203, "i1", lambda m, p, j: [m], 2)
check("causal & bits(%m)", QUERIES, 208, 208, "i1", lambda m, p, j: [m, j <= p], 3)
check("window<9, 2> | bits(%m)", QUERIES, 203, 203, "i8", lambda m, p, j: [m | ((p - 9 <= j) & (j <= p + 2))], 4)
check("causal & !bits(%m)", QUERIES, 208, 208, "i8", lambda m, p, j: [~m, j <= p], 5)
check("!bits(%m)", QUERIES, 203, 203, "i1", lambda m, p, j: [~m], 6)
check("keys<20, inf> & bits(%m)", 1, 208, 208, "i8", lambda m, p, j: [m, j >= 20], 7)
check("causal & bits(%m)", QUERIES, 208, 1, "i8", lambda m, p, j: [m, j <= p], 8)

# Without keys there is no bit to look at.
for device in ["sim", "host"]:
    run("bits(%m)", f"tensor<1x1x{QUERIES}x?xi8>", 0, np.zeros((1, 1, QUERIES, 0), np.int8), device, known=False)
print("no keys: right")
