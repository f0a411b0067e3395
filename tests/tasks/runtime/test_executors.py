"""What tasks ask of a Ray cluster, and what is said where there is none."""

import pytest

from lstm_model.contracts.settings import TrainingSpec
from tasks.runtime.executors import find_ray_options, require_cluster
from tasks.stages.evaluate import evaluate_shard
from tasks.stages.train import train
from tasks.stages.window import window

TRAINING = {
    "seed": 0, "device": "auto", "precision": "auto", "threads": 1, "max_steps": 1, "batch_size": 2,
    "learning_rate": 0.1, "weight_decay": 0.0, "gradient_clip": 1.0, "patience": 1, "refit": False,
}  # fmt: skip


def test_stages_of_torch_ask_for_a_gpu_where_there_is_one():
    alone = {"training": TrainingSpec(**TRAINING)}
    assert (
        find_ray_options(train, alone, {"CPU": 4, "GPU": 1})
        == find_ray_options(evaluate_shard, {}, {"GPU": 1})
        == {"num_gpus": 1}
    )
    assert find_ray_options(train, alone, {"CPU": 4}) == find_ray_options(window, {}, {"GPU": 1}) == {}


def test_what_waits_for_processes_leaves_them_the_room():
    shared = {"training": TrainingSpec(**TRAINING, workers=2)}
    assert find_ray_options(train, shared, {"CPU": 2, "GPU": 1}) == {"num_cpus": 0}


def test_an_address_where_nobody_listens_is_told_at_once():
    require_cluster("local")
    require_cluster("auto")
    with pytest.raises(OSError):
        require_cluster("ray://127.0.0.1:1")
    with pytest.raises(ValueError, match="expected local, auto, host:port or ray://host:port"):
        require_cluster("127.0.0.1:head")
