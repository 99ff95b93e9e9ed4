"""Scenarios: the service under load while something goes wrong."""

import pytest

pytest.register_assert_rewrite("tests.acceptance.tally", "tests.acceptance.laboratory")
