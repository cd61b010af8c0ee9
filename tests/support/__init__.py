"""What tests, benchmarks and the demo share: servers as processes, clients that are not ours, models, broken libraries.

Tests find this package by `pythonpath` in pyproject.toml; `tests` has to be in PYTHONPATH for whatever else imports it.
`servers` and `processes` need nothing but the standard library.
"""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
EXAMPLES = ROOT / "examples"
