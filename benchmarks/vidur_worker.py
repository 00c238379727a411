"""Runs inside the environment that has Vidur, never imported by the project.

    python vidur_worker.py FOLDER REPLICAS SLOTS CHUNK

FOLDER holds `compute/` and `network/` (profiles in Vidur's format) and `trace.csv`. Vidur fetches profiles from a hub;
here the fetch answers with those two folders, and nothing else of Vidur is changed. Prints one JSON line:
CPU seconds of the event loop alone (training, reading and plots apart), requests, median TTFT and TPOT.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vidur import config as names
from vidur.execution_time_predictor import sklearn_execution_time_predictor as predictor
from vidur.simulator import Simulator
from vidur.utils.random import set_seeds

MODEL = "meta-llama/Llama-3-8B"
MOST_TOKENS = 8192


def main(folder: Path, replicas: int, slots: int, chunk: int) -> None:
    logging.disable(logging.INFO)
    answer_fetches_from(folder)
    set_seeds(0)
    simulator = Simulator(configuration(folder, replicas, slots, chunk))
    requests = [event._request for _, event in simulator._event_queue]
    simulator._write_output = lambda: None
    started_s = time.process_time()
    simulator.run()
    cpu_s = time.process_time() - started_s
    ttft = [each.prefill_completed_at - each.arrived_at for each in requests]
    tpot = [
        (each.completed_at - each.prefill_completed_at) / (each.num_decode_tokens - 1)
        for each in requests
        if each.num_decode_tokens >= 8
    ]
    found = {"ttft_s": statistics.median(ttft), "tpot_s": statistics.median(tpot)}
    print(json.dumps({"version": version("vidur"), "cpu_s": cpu_s, "requests": len(requests), **found}))


def answer_fetches_from(folder: Path) -> None:
    """Profiles come from the folder; trained predictions, which the hub may also have, do not exist."""

    def fetch(repo_id: str, **_: Any) -> str:
        if repo_id not in ("compute", "network"):
            raise FileNotFoundError(repo_id)
        return str(folder / repo_id)

    predictor.snapshot_download = fetch


def configuration(folder: Path, replicas: int, slots: int, chunk: int) -> names.SimulationConfig:
    """Chunked prefill on `replicas` single accelerators, the fewest outstanding requests first; no metrics but sums."""
    forest = names.RandomForrestExecutionTimePredictorConfig(
        model_profiling_dataset="compute",
        network_profiling_dataset="network",
        cache_dir=str(folder / "cache"),
        k_fold_cv_splits=2,
        num_training_job_threads=1,
        num_estimators=[20],
        max_depth=[32],
        min_samples_split=[2],
        prediction_max_tokens_per_request=MOST_TOKENS,
        prediction_max_batch_size=slots,
        prediction_max_prefill_chunk_size=max(chunk, MOST_TOKENS // 2),
        attention_decode_batching_overhead_fraction=0.0,
    )
    quiet = dict.fromkeys(
        ("write_metrics", "enable_chrome_trace", "store_plots", "store_request_metrics", "store_batch_metrics",
         "store_utilization_metrics"), False,
    )  # fmt: skip
    return names.SimulationConfig(
        cluster_config=names.ClusterConfig(
            num_replicas=replicas,
            replica_config=names.ReplicaConfig(MODEL, num_pipeline_stages=1, tensor_parallel_size=1),
            global_scheduler_config=names.LORGlobalSchedulerConfig(),
            replica_scheduler_config=names.SarathiSchedulerConfig(batch_size_cap=slots, chunk_size=chunk),
        ),
        request_generator_config=names.TraceRequestGeneratorConfig(
            trace_file=str(folder / "trace.csv"),
            date="headrace",
            prefill_scale_factor=1.0,
            time_scale_factor=1.0,
            max_tokens=MOST_TOKENS // 2,
        ),
        execution_time_predictor_config=forest,
        metrics_config=names.MetricsConfig(output_dir=tempfile.mkdtemp(dir=folder), **quiet),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(each) for each in sys.argv[2:5]))
