"""The mutation campaign: ``python tests/mutation/run.py [--sample N] [--list]``.

Every VJP of the library is broken in many ways, one at a time and in memory, and the table of operations is swept
until some row fails. A mutant that survives is a missing test. `EQUIVALENT` names those that change nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from campaign import hunt  # noqa: E402
from equivalent import is_equivalent  # noqa: E402
from mutants import all_mutants  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Break each derivative, and see that a test fails.")
    parser.add_argument("--sample", type=int, metavar="N", help="try every mutant number 0, M, 2M ..., N in all")
    parser.add_argument("--only", metavar="TEXT", help="try mutants with this in their description")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    options = parser.parse_args()

    mutants = [m for m in all_mutants() if not is_equivalent(m)]
    if options.only:
        mutants = [m for m in mutants if options.only in str(m)]
    if options.sample:
        mutants = mutants[:: max(1, len(mutants) // options.sample)][: options.sample]
    if options.list:
        print(*mutants, sep="\n")
        return 0

    start = time.perf_counter()
    survivors = []
    caught: Counter[str] = Counter()
    for mutant, row in hunt(mutants):
        if row is None:
            survivors.append(mutant)
            print("survived:", mutant, flush=True)
        else:
            caught[row.name] += 1
    vjps = {(id(m.primitive), m.names) for m in mutants if m.names}
    print(f"{len(mutants)} mutants of {len(vjps)} VJPs in {time.perf_counter() - start:.0f} s:", end=" ")
    print(f"{caught.total()} caught by {len(caught)} rows, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
