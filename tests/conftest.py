"""What holds for all tests: one broker of a kind, and a kernel is compiled by one process and loaded by the others.

In a fresh clone every worker would compile the same kernels at the same time, which is a third of what the suite takes.
"""

import fcntl
import gc
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from numba.core.caching import NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

from headwater.testing import certificates as certificates_of
from headwater.testing.kafka import KafkaServer
from headwater.testing.rabbitmq import RabbitmqServer

gc.set_threshold(
    50_000
)  # what is imported and collected stays; looking at it again and again is a fifth of a worker's time
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("suite"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "suite")  # a submission is not judged by chance, nor by load

_LOCKS = Path(tempfile.gettempdir()) / "headwater-test-kernels"
_held: set[str] = set()


@contextmanager
def _alone(kernel):
    """Holds a kernel's lock; within, its cache has what others have compiled. The compiler's own lock comes first, so
    that of this process only one thread ever waits here."""
    name = hashlib.sha256(f"{kernel.py_func.__code__.co_filename}:{kernel.py_func.__qualname__}".encode()).hexdigest()
    with global_compiler_lock:
        if name in _held:  # it compiles itself for other types
            yield
            return
        _LOCKS.mkdir(exist_ok=True)
        with (_LOCKS / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _held.add(name)
            try:
                yield
            finally:
                _held.discard(name)


def _compile_once(compile_kernel):
    def compiled(self, sig):
        if isinstance(self._cache, NullCache):
            return compile_kernel(self, sig)
        with _alone(self):
            return compile_kernel(self, sig)

    return compiled


Dispatcher.compile = _compile_once(Dispatcher.compile)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Of the shared servers that speak TLS too."""
    return certificates_of.make(tmp_path_factory.mktemp("certificates") / "trusted")


@pytest.fixture(scope="session")
def kafka(certificates):
    """One broker for all tests of a worker; those that use it are kept on one by xdist_group."""
    with KafkaServer(certificate=certificates.both) as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq(certificates):
    """One broker for all tests of a worker; those that use it are kept on one by xdist_group."""
    with RabbitmqServer(certificates=certificates) as running:
        yield running


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """What is to be on one worker is: with a pytest that pytest-xdist does not know, groups are silently ignored, and
    every worker starts every server."""
    grouped = (item for item in items if item.get_closest_marker("xdist_group"))
    one = next(grouped, None)
    if config.getoption("loadgroup", False) and one is not None and "@" not in one.nodeid.rpartition("]")[2]:
        raise pytest.UsageError(f"pytest-xdist has not put {one.nodeid} into its group")
