"""`python -m benchmarks.studies NAME`: one paper's point on a small problem, with a picture and a verdict.

Runs the study on fifteen seeds: by five, what the paper claims of velocity or success held on one machine and not on
another, whose sums round otherwise. Prints what the paper claims, what was measured and whether it holds, and ends
with one line of JSON. What is in `--out` or on record for this very code is not run again; `--record` adds to it, and
`python -m benchmarks.results` makes docs/results.md of what is there. `--quick` shows in seconds that a study runs, and
says nothing of the paper.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import ending
from benchmarks.arguments import count
from benchmarks.provenance import read_record
from benchmarks.studies.catalogue import NAMES, study
from benchmarks.studies.shown import ShownSeeds
from benchmarks.studies.study import Data, keep, require_form, rounded
from robot_rl.learn.device import use_one_thread

SEEDS = 15


def main(argv: Sequence[str] | None = None) -> int:
    """Run or read, judge, draw; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seeds", type=count, default=SEEDS, help="how many, from 0 on (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two seeds, a few episodes: does it run?")
    parser.add_argument("--again", action="store_true", help="run it although it was run")
    parser.add_argument("--out", type=Path, default=Path("runs/studies"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put the data on record in benchmarks/records/studies/")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 2:
        parser.error("--seeds 1: expected two or more, a claim is judged by its spread over them")
    if arguments.record and (arguments.quick or arguments.seeds < SEEDS):
        parser.error(f"--record: expected a full run of {SEEDS} seeds or more, got --quick or fewer")
    ending.usable(arguments.out)
    one, record = study(arguments.name), study(arguments.name).record()
    started = time.monotonic()
    kept = arguments.out / record.name
    known = () if arguments.again or arguments.quick else (kept, record)
    there = {path: read_record(path, ("seeds",)) for path in known if path.exists()}
    data: Data
    for path, data in there.items():
        if len(data["seeds"]) == arguments.seeds:
            require_form(one, data, path)
            print(f"read from {path}")
            break
    else:
        use_one_thread()
        with ShownSeeds(range(2 if arguments.quick else arguments.seeds), Console(stderr=True)) as seeds:
            data = one.run(seeds, arguments.quick)
        data = rounded({**data, "seconds": round(time.monotonic() - started, 1)})
        if not arguments.quick:
            try:
                keep(data, kept)
            except OSError as error:
                print(f"not kept: {kept} cannot be written; {error.strerror or error}")
    if arguments.record:
        one.put_on_record(data, record)
    picture = arguments.out / f"{one.name}.png"
    try:
        one.draw(data, picture)
        print(f"{one.title}: {picture}")
    except OSError as error:
        print(f"{one.title}: {picture} cannot be written; {error.strerror or error}")
    for verdict in one.judge(one.figures(data)):
        print(f"{'quick, no verdict: ' if arguments.quick else ''}{verdict}")
    print(json.dumps(one.last_line(data)))
    return 0


if __name__ == "__main__":
    sys.exit(ending.in_words(main, "interrupted; of this study nothing is kept, it begins anew"))
