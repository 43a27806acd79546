"""Every configuration in tests/configs keeps the contract."""

from pathlib import Path

import pytest
from contracts import CONFIGS, measure
from taskpress.models import architectures


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_contract(config: Path) -> None:
    contract = measure(config)
    assert contract.eager <= 1e-4, contract
    assert contract.chunks <= 1e-4, contract
    assert contract.tflite <= 1e-4, contract
    assert contract.int8_kl <= 0.02, contract
    # One more partition than layers: only the writes to the cache lie between them.
    assert contract.partitions == (contract.layers + 1, contract.layers + 1), contract


def test_every_architecture_has_a_configuration() -> None:
    assert {config.stem.partition("-")[0] for config in CONFIGS} >= set(architectures())
