"""Fixtures for every test."""

import os

from tests.fake_nvml.fixtures import fake_nvml, loaded_nvml

__all__ = ["fake_nvml", "loaded_nvml"]

# Trainings of two tests at once would spin for each other's cores: a hundred times slower where the machine has two.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The screens' words are English here, whatever the locale of the one who runs the tests.
os.environ["LANGUAGE"] = "en"
