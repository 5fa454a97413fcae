from collections.abc import Iterator

import pytest

from tests.deploy.deployment import Deployment, deployed


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests that only look at it or use it."""
    with deployed(tmp_path_factory.mktemp("modal")) as deployment:
        yield deployment
