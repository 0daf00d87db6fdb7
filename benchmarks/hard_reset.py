"""What hard reset costs: accuracy and spikes of one network with either reset.

    python benchmarks/hard_reset.py --data DIR --models DIR

The network of the sinabs examples on the first test images of MNIST, in rate mode; folders as
`models.py` has them. Prints the table of docs/hard-reset.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models import sinabs_mnist

import snndeploy as sd

IMAGES, CALIBRATION = 500, 256


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    arguments.add_argument("--models", type=Path, required=True, help="the folder with models")
    chosen = arguments.parse_args()
    case = sinabs_mnist(chosen.data, chosen.models, IMAGES)
    print("| levels, window | soft | spikes | hard | spikes |\n|---|---|---|---|---|")
    for levels, window in ((7, 7), (7, 14), (7, 28), (15, 15), (15, 30), (15, 60)):
        cells = [f"{levels}, {window}"]
        for reset in ("soft", "hard"):
            network = sd.convert(
                case.network,
                case.calibration[:CALIBRATION],
                levels=levels,
                calibrate="none",
                mode="rate",
                window=window,
                reset=reset,
            )
            trace = sd.run(sd.lower(network), case.x, record=False)
            spikes = trace.total_events / IMAGES
            cells += [f"{trace.accuracy(case.labels):.1%}", f"{spikes:,.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
