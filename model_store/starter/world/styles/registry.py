"""The style families by the words that captions use for them."""

from types import MappingProxyType

from model_store.starter.world.styles.base import Style
from model_store.starter.world.styles.blueprint import Blueprint
from model_store.starter.world.styles.chalk import Chalk
from model_store.starter.world.styles.flat import Flat
from model_store.starter.world.styles.halftone import Halftone
from model_store.starter.world.styles.ink_wash import InkWash
from model_store.starter.world.styles.mosaic import Mosaic
from model_store.starter.world.styles.neon import Neon
from model_store.starter.world.styles.oil import Oil
from model_store.starter.world.styles.paper_cut import PaperCut
from model_store.starter.world.styles.pencil import Pencil
from model_store.starter.world.styles.pixel_art import PixelArt
from model_store.starter.world.styles.pointillism import Pointillism
from model_store.starter.world.styles.stained_glass import StainedGlass
from model_store.starter.world.styles.watercolour import Watercolour
from model_store.starter.world.styles.woodcut import Woodcut

STYLES: MappingProxyType[str, type[Style]] = MappingProxyType(
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
