"""The story of the README, on handwritten digits, as a script.

    python examples/digits.py

Trains for a few seconds, then converts, certifies, compares, calibrates, prices and reports.
"""

from __future__ import annotations

import torch

import snndeploy as sd
from snndeploy.training.digits import digits, trained_network


def main() -> None:
    data = digits()
    model = trained_network(data.training)

    network = sd.from_torch(model, torch.from_numpy(data.test.x[:2]), "digits")
    snn = sd.convert(network)
    program = sd.lower(snn, sd.hardware("loihi1"))

    trace = sd.run(program, data.test.x)
    print(f"settled accuracy {trace.accuracy(data.test.y):.2%}")
    sd.run(program, data.test.x[:16], backend="norse").assert_same_spikes(trace[:16])

    certificate = sd.certify(program, data.test.x)
    print(*certificate.sentences(), sep="\n")

    policy = sd.calibrate_exit(program, data.held_out.x, data.held_out.y)
    early = sd.run(program, data.test.x, exit_policy=policy)
    print(f"early exit {early.accuracy(data.test.y):.2%} in {early.stop_steps.mean():.2f} steps")

    estimate = sd.estimate(program, trace)
    page = sd.report(
        program,
        trace,
        labels=data.test.y,
        certificate=certificate,
        policy=policy,
        exit_trace=early,
        estimate=estimate,
    )
    page.save("digits.html")
    sd.save(snn, "digits.nir")
    print("written: digits.html, digits.nir")


if __name__ == "__main__":
    main()
