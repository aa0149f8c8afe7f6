"""1,000,000 inference events through every step of ingest into Delta, beside msgspec's typed decoding.

Run `python -m benchmarks.ingest_speed [--events N]`. Figures are CPU-seconds of this process; the ratio
to the decoder, measured in the same run, is what can be compared between machines. Each size runs in
a process of its own, so that peak memory is that size's.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

FEATURES = 16
PRINCIPALS = 5_000
START = datetime(2026, 3, 2, tzinfo=UTC)


def write(path: Path, events: int) -> int:
    """Nested ECS inference events of about 600 bytes, 1 % of them duplicates twice; gives the distinct ones."""
    rng = random.Random(1)
    names = ",".join(f"f{i}" for i in range(FEATURES))
    distinct = 0
    with path.open("w") as file:
        line = ""
        for i in range(events):
            if not line or rng.random() >= 0.01:
                distinct += 1
                score = rng.random()
                line = json.dumps(
                    {
                        "@timestamp": (START + timedelta(microseconds=i * 37_000)).isoformat(),
                        "event": {
                            "id": f"9f86d081-{i:08x}",
                            "duration": rng.randrange(10**6),
                            "outcome": "success",
                        },
                        "user": {"id": f"user-{int(rng.paretovariate(0.7)) % PRINCIPALS}"},
                        "source": {"ip": f"192.0.2.{rng.randrange(256)}"},
                        "trace": {"id": f"{rng.getrandbits(128):032x}"},
                        "service": {"name": "scoring-api", "environment": "production"},
                        "tocsin": {
                            "model": {"name": f"model-{rng.randrange(8)}", "version": "3"},
                            "features": {
                                "names": names,
                                "values": [round(rng.gauss(0, 100), 3) for _ in range(FEATURES)],
                            },
                            "output": {
                                "label": str(int(score > 0.5)),
                                "score": score,
                                "confidence": max(score, 1 - score),
                            },
                        },
                    },
                    separators=(",", ":"),
                )
            file.write(line + "\n")
    return distinct


def pieces(path: Path) -> Iterator[bytes]:
    """The file in runs of whole lines."""
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(256 * 1024):
            head, newline, tail = (rest + piece).rpartition(b"\n")
            yield head + newline
            rest = tail


def decode(path: Path) -> float:
    """CPU-seconds of the typed decoder alone."""
    from tocsin.pipeline.ingesting.decode import _fast

    decoder, _ = _fast("inference")
    start = time.process_time()
    for piece in pieces(path):
        decoder.decode_lines(piece)
    return time.process_time() - start


def ingest(path: Path, root: Path) -> dict[str, float]:
    """CPU-seconds, counts, bytes on disk and peak memory of the whole way into Delta."""
    from tocsin.clock import ScriptedClock, parse_time
    from tocsin.config import params
    from tocsin.pipeline.ingesting.ingest import Ingest
    from tocsin.pipeline.ingesting.protect import Protector, Rule
    from tocsin.store.embedded.delta import DeltaStore
    from tocsin_collectors.ndjson import Ndjson

    protector = Protector(
        [Rule("user.id", "pseudonymize"), Rule("source.ip", "pseudonymize")],
        b"benchmark key of 32 bytes length",
    )
    clock = ScriptedClock(parse_time("2026-03-10"))
    store = DeltaStore.open(root, clock=clock)
    collector = Ndjson(params.build(Ndjson.params_type(), {"paths": [str(path)], "stream": "inference"}))
    start = time.process_time()
    counts = Ingest(store, clock, protector).run(collector)
    seconds = time.process_time() - start
    disk = sum(f.stat().st_size for f in (root / "streams" / "inference").rglob("*.parquet"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": seconds, "disk": disk, "peak": peak, **counts._asdict()}


def measure(events: int) -> dict[str, float]:
    """One size in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.ingest_speed", "--one", "--events", str(events)]
    answer: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return answer


def one(events: int) -> dict[str, float]:
    """What the child process does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inference.ndjson"
        distinct = write(path, events)
        size = path.stat().st_size
        result = ingest(path, Path(folder) / "store")
        vector = FEATURES * 8 * result["accepted"]
        return {
            **result,
            "distinct": distinct,
            "bytes_in": size / events,
            "decode": min(decode(path) for _ in range(3)),
            "bytes_out": (result["disk"] - vector_bytes(Path(folder) / "store")) / result["accepted"],
            "vector": vector / result["accepted"],
        }


def vector_bytes(root: Path) -> int:
    """Compressed bytes of the vector column alone, written again by itself."""
    import polars as pl

    total = 0
    for file in (root / "streams" / "inference").rglob("*.parquet"):
        alone = root / "vector.parquet"
        pl.scan_parquet(file).select("tocsin.features.values").sink_parquet(
            alone, compression="zstd", compression_level=1
        )
        total += alone.stat().st_size
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.events)))
        return
    small, large = measure(arguments.events // 10), measure(arguments.events)
    rate = large["read"] / large["cpu"]
    duplicates = arguments.events - large["distinct"]
    growth = large["peak"] / small["peak"]
    print(f"events            {large['read']:,.0f} of {large['bytes_in']:.0f} bytes")
    print(f"duplicates        {large['duplicate']:,.0f} counted, {duplicates:,.0f} written")
    print(f"ingest            {rate:,.0f} events per CPU-second (bar 120,000)")
    print(f"of typed decoding {large['decode'] / large['cpu']:.1%} (bar 15 %)")
    print(f"on disk           {large['bytes_out']:.1f} bytes an event beside its vector (bar 90)")
    print(f"peak memory       {large['peak']:.0f} MB (bar 600), {growth:.2f} times that of a tenth (bar 1.2)")


if __name__ == "__main__":
    main()
