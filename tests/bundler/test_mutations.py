from pathlib import Path

import pytest
from mutations import KINDS, Base, bases, run, small_parts


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Base]]:
    folder: Path = tmp_path_factory.mktemp("bases")
    return bases(folder, *small_parts())


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bundles_give_a_result_or_one_line(
    originals: dict[str, list[Base]], kind: str
) -> None:
    outcome = run(originals, kind, range(400), seed=1)
    assert outcome.failures == []
    # the changes are neither too mild nor too harsh: every reader sees both
    for reader in ("bundle", "inspect", "doctor", "unpack", "repack", "diff"):
        assert outcome.counts[f"{reader}: a result"] > 0
    assert outcome.counts["bundle: an error"] > 100
