"""A model of CUDA's native caching allocator, as torch 2.13 has it: what it would reserve for a course of requests.

Written after the rules of c10/cuda/CUDACachingAllocator.cpp and the constants of c10/core/AllocatorConfig.h. One
device, one stream: a freed block can be used again at once. Private pools (CUDA graphs) and blocks that another stream
waits for are not modelled.
"""

from __future__ import annotations

from memtop.model.caching.allocator import CachingAllocator as CachingAllocator
from memtop.model.caching.allocator import OutOfMemory as OutOfMemory
from memtop.model.caching.allocator import Shortage as Shortage
from memtop.model.caching.config import AllocatorConfig as AllocatorConfig
from memtop.model.caching.config import ConfigError as ConfigError
from memtop.model.caching.config import parse as parse
