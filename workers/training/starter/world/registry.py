"""The style families by the words that captions use for them."""

from types import MappingProxyType

from workers.training.starter.world.style import WorldStyle
from workers.training.starter.world.styles.blueprint import Blueprint
from workers.training.starter.world.styles.chalk import Chalk
from workers.training.starter.world.styles.flat import Flat
from workers.training.starter.world.styles.halftone import Halftone
from workers.training.starter.world.styles.ink_wash import InkWash
from workers.training.starter.world.styles.mosaic import Mosaic
from workers.training.starter.world.styles.neon import Neon
from workers.training.starter.world.styles.oil import Oil
from workers.training.starter.world.styles.paper_cut import PaperCut
from workers.training.starter.world.styles.pencil import Pencil
from workers.training.starter.world.styles.pixel_art import PixelArt
from workers.training.starter.world.styles.pointillism import Pointillism
from workers.training.starter.world.styles.stained_glass import StainedGlass
from workers.training.starter.world.styles.watercolour import Watercolour
from workers.training.starter.world.styles.woodcut import Woodcut

STYLES: MappingProxyType[str, type[WorldStyle]] = MappingProxyType(
    {
        "flat": Flat,
        "watercolour": Watercolour,
        "pencil": Pencil,
        "pointillism": Pointillism,
        "pixelart": PixelArt,
        "stainedglass": StainedGlass,
        "neon": Neon,
        "oil": Oil,
        "woodcut": Woodcut,
        "halftone": Halftone,
        "papercut": PaperCut,
        "chalk": Chalk,
        "mosaic": Mosaic,
        "inkwash": InkWash,
        "blueprint": Blueprint,
    }
)
