"""Reads the peers' lines (name, pairs/s, p50, p99), prints medians and ratios, writes them as JSON to argv[1]."""

import json
import statistics
import sys

rounds = {}
for line in sys.stdin:
    name, *numbers = line.rstrip("\n").split("\t")
    rounds.setdefault(name, []).append([float(number) for number in numbers])

rows = {name: [statistics.median(column) for column in zip(*lines)] for name, lines in rounds.items()}
base = next((name for name in rows if name.startswith("this library")), next(iter(rows)))

print("\npeers: one task, five nodes, lock and unlock")
for name, (rate, p50, p99) in sorted(rows.items(), key=lambda row: row[1][1]):
    ratio = p50 / rows[base][1]
    print(f"  {name:<28} {rate:9.0f} pairs/s   p50 {p50:9.1f} us   p99 {p99:9.1f} us   p50 {ratio:6.2f} x {base}")

with open(sys.argv[1], "w") as file:
    peers = [
        {"name": name, "pairs_per_s": rate, "p50_us": p50, "p99_us": p99, "p50_ratio": p50 / rows[base][1]}
        for name, (rate, p50, p99) in rows.items()
    ]
    json.dump({"base": base, "peers": peers}, file, indent=2)
    print(file=file)
