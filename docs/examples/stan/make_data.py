"""Makes the data of ``radon.stan``: 919 houses in 85 counties, simulated from the model itself.

Some counties have two houses and some have more than a hundred, as in surveys.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

COUNTIES, HOUSES, SEED = 85, 919, 1
INTERCEPT, FLOOR, URANIUM, BETWEEN, WITHIN = 1.4, -0.7, 0.7, 0.2, 0.75
FEWEST = 2  # houses of a county
DIGITS = 4


def make() -> dict[str, object]:
    """The data as Stan reads them."""
    random = np.random.default_rng(SEED)
    share = random.dirichlet(np.full(COUNTIES, 0.5))
    extra = random.multinomial(HOUSES - FEWEST * COUNTIES, share)
    county = np.repeat(np.arange(COUNTIES), FEWEST + extra)
    uranium = random.normal(size=COUNTIES)
    uranium = ((uranium - uranium.mean()) / uranium.std()).round(DIGITS)
    first_floor = random.binomial(1, 0.17, HOUSES)
    level = INTERCEPT + URANIUM * uranium + BETWEEN * random.normal(size=COUNTIES)
    radon = level[county] + FLOOR * first_floor + WITHIN * random.normal(size=HOUSES)
    return {
        "N": HOUSES,
        "J": COUNTIES,
        "county": (county + 1).tolist(),
        "first_floor": first_floor.tolist(),
        "uranium": uranium.tolist(),
        "log_radon": radon.round(DIGITS).tolist(),
    }


if __name__ == "__main__":
    Path(__file__).with_name("radon.json").write_text(json.dumps(make()) + "\n", encoding="utf-8")
