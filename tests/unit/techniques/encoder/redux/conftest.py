"""Fixtures of the tests of Redux: tiny FLUX with what goes with it installed."""

from pathlib import Path

import pytest

from tests.support.techniques import flux_requests
from workers.engine.backbones.flux import Flux
from workers.engine.technique import PrepareContext


@pytest.fixture
def on_flux(flux: Flux, tiny_root: Path) -> PrepareContext:
    """A cold cache on FLUX."""
    return flux_requests.context_on(flux, flux_requests.installed(tiny_root))


@pytest.fixture
def on_fill(flux_fill: Flux, tiny_root: Path) -> PrepareContext:
    """A cold cache on FLUX Fill."""
    return flux_requests.context_on(flux_fill, flux_requests.installed(tiny_root))
