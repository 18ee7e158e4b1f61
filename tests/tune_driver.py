"""A user's Ray Tune script for the tests, which run it as a process and may kill it.

`python tune_driver.py FOLDER NUM_SAMPLES EPOCHS fresh|restore` prints Tune's results as JSON, from
the cluster at RAY_ADDRESS.
"""

import json
import os
import sys
from pathlib import Path

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from nas.tune import NasSearch, trainable

folder, samples, epochs, how = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
store = f"sqlite:///{folder}/nas.db"
ray.init(log_to_driver=False, logging_level="ERROR")
if how == "restore":
    tuner = tune.Tuner.restore(str(folder / "ray" / "tiny"), trainable("tiny", store=store))
else:
    search = NasSearch(
        str(folder / "tiny.py"), str(folder / "tones.npz"), "50k",
        max_flops="60k", study="tiny", store=store, out=str(folder / "studies"),
        epochs=epochs, sampler="random",
    )  # fmt: skip
    tuner = tune.Tuner(
        search.trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=ASHAScheduler(max_t=search.epochs, grace_period=1, reduction_factor=2),
            metric="score",
            mode="max",
            num_samples=samples,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="tiny", storage_path=str(folder / "ray"), verbose=0),
    )
found = tuner.fit()
results = {
    one.metrics["trial"]: [one.metrics["epoch"], one.metrics["score"], str(one.error or "")]
    for one in found
}
print(json.dumps(results), flush=True)
os._exit(0)  # Ray's shutdown is slow, and no test needs it
