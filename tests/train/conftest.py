"""One thread, and one tiny base for all tests of this folder."""

from collections.abc import Iterator

import pytest
import torch

from burnish.records import Weights
from tests.train.material import make_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return make_model(tmp_path_factory.mktemp("base"))
