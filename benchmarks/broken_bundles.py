"""Bundles with one fault each, for `taskpress doctor`: the tests ask whether it names the fault.

`benchmarks/doctor_table.py` shows beside each what the LiteRT-LM engine says of the same file.
"""

# each adds its faults to the list
import broken_archives  # noqa: F401
import broken_models  # noqa: F401
import broken_sections  # noqa: F401
from faults import FAULTS, Fault, Parts

__all__ = ["FAULTS", "Fault", "Parts"]
