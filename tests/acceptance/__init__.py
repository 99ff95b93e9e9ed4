"""Scenarios: the service under load while a fault happens."""

import pytest

pytest.register_assert_rewrite("tests.acceptance.tally", "tests.acceptance.laboratory")
