"""Fixtures for every test."""

from tests.fake_nvml.fixtures import fake_nvml, loaded_nvml

__all__ = ["fake_nvml", "loaded_nvml"]
