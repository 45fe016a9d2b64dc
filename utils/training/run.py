"""A run of training from its settings to its last checkpoint, the same for all models."""
import dataclasses
from collections.abc import Callable
from typing import TypeVar

from utils.device import Device, setup_device
from utils.training.loader import Batches, DataSet
from utils.training.loop import fit
from utils.training.recipe import Recipe
from utils.training.run_folder import RunFolder
from utils.training.settings import ModelSettings
from utils.training.state import Progress

Settings = TypeVar("Settings", bound=ModelSettings)
Data = TypeVar("Data", bound=DataSet)


def run_training(config: Settings, make_data: Callable[[Settings, int, int], Data],
                 make_recipe: Callable[[Settings, Data, Device], Recipe]) -> Progress:
    """Trains as `config` says on make_data(config, rank, processes), by make_recipe(config, data, device).

    A resumed run takes its weights from its state: its initial_model need not be there any more.
    """
    device = setup_device(config.device_target, config.distribute, config.device_id, config.seed)
    with RunFolder(config, device.rank) as folder:
        data = make_data(config, device.rank, device.size)
        with Batches(data, config.num_workers) as batches:
            begin = config
            if config.resume and folder.saved_states():
                begin = dataclasses.replace(config, initial_model="")
            return fit(make_recipe(begin, data, device), batches, folder, config, device)
