"""Every configuration in tests/configs keeps the contract."""

import json
from pathlib import Path

import pytest
from contracts import CONFIGS, LENGTHS, TEXT, measure
from encoder_contracts import ENCODER_CONFIGS, SENTENCES, measure_encoder
from encoder_decoder_contracts import ENCODER_DECODER_CONFIGS, measure_encoder_decoder
from taskpress.models import architectures

DECODER_CONFIGS = [c for c in CONFIGS if c not in [*ENCODER_CONFIGS, *ENCODER_DECODER_CONFIGS]]


@pytest.mark.parametrize("config", DECODER_CONFIGS, ids=lambda config: config.stem)
def test_contract(config: Path) -> None:
    contract = measure(config)
    assert contract.eager <= 1e-4, contract
    assert contract.chunks <= 1e-4, contract
    assert contract.tflite <= 1e-4, contract
    assert contract.int8_kl <= 0.02, contract
    # One more partition than layers: only the writes to the cache lie between them.
    assert contract.partitions == (contract.layers + 1, contract.layers + 1), contract


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text"])
def test_contract_with_rings(model_type: str) -> None:
    """Of the families that have sliding layers beside full ones, the text passes a ring's end."""
    (config,) = (config for config in DECODER_CONFIGS if config.stem == model_type)
    assert json.loads(config.read_text())["sliding_window"] + max(LENGTHS) < TEXT
    contract = measure(config, rings=True)
    assert max(contract.eager, contract.chunks, contract.tflite) <= 1e-4, contract
    assert contract.int8_kl <= 0.02, contract
    assert contract.partitions == (contract.layers + 1, contract.layers + 1), contract


@pytest.mark.parametrize("kind", SENTENCES)
@pytest.mark.parametrize("config", ENCODER_CONFIGS, ids=lambda config: config.stem)
def test_encoder_contract(config: Path, kind: str) -> None:
    contract = measure_encoder(config, kind)
    assert contract.eager <= 1e-4, contract
    assert contract.padding <= 1e-5, contract
    assert contract.tflite <= 1e-4, contract
    assert contract.int8_cosine >= 0.99, contract
    # However many layers: the tables' rows and the mask's integers lie before the first, and where
    # heads are grouped BROADCAST_TO, which repeats the mask.
    assert contract.partitions == (1 if config.stem == "bert" else 2), contract
    assert contract.layers > 2, contract


@pytest.mark.parametrize("config", ENCODER_DECODER_CONFIGS, ids=lambda config: config.stem)
def test_encoder_decoder_contract(config: Path) -> None:
    contract = measure_encoder_decoder(config)
    assert contract.eager <= 1e-4, contract
    assert contract.padding <= 1e-4, contract
    assert contract.chunks <= 1e-4, contract
    assert contract.tflite <= 1e-4, contract
    assert contract.int8_kl <= 0.02, contract
    # As encoders and as decoders: only the writes to the cache lie between partitions.
    assert contract.partitions == (1, contract.layers[1] + 1), contract


def test_every_architecture_has_a_configuration() -> None:
    assert {config.stem.partition("-")[0] for config in CONFIGS} >= set(architectures())
