"""Which LoRAs are of FLUX.1, told from names and shapes; its relatives and control LoRAs, which share them, refused."""

import re
from collections.abc import Mapping

from model_store.catalogue.entry import Base
from model_store.errors import WrongKeys
from model_store.load.flux_lora import place_of
from model_store.load.header import Header

BLOCKS = re.compile(r"(double_blocks|single_transformer_blocks|single_blocks)[._]")
"""Blocks that only FLUX and its relatives have."""
_DOUBLE = re.compile(
    r"(transformer[._]|base_model\.model\.|lora_transformer_)?transformer_blocks[._]\d+[._]attn[._]to_[qkv]"
    r"\.(lora_A|lora_down)(\.default)?\.weight"
)
_WIDTH = 3072
"""Of FLUX.1, by which the double blocks alone are told from those of Stable Diffusion 3, by diffusers' names."""
_FIRST = re.compile(r"(img_in|x_embedder)\.(lora_A|lora_down|lora\.down)(\.default)?\.weight$")
_CHANNELS: Mapping[int, Base] = {64: "flux", 384: "flux-fill"}
"""What the first layer reads: the latents, or those, the masked picture's and the mask."""
_CONTROL = re.compile(r"\.lora_B(\.default)?\.bias$|(query|key)_norm\.scale$")
_FLUX2 = re.compile(
    r"(double|single)_stream_modulation|to_qkv_mlp_proj|[._]ff(_context)?[._]linear_(in|out)"
    r"|single_transformer_blocks[._]\d+[._]attn[._]to_out[._]"
)
_STATED = ("modelspec.architecture", "ss_base_model_version")
_OTHERS = re.compile(r"flux[ ._-]?2|klein|chroma|hunyuan", re.IGNORECASE)


def is_flux(header: Header) -> bool:
    """Return whether a LoRA has names of FLUX.1, the authors' or diffusers'; its relatives have some of them, too."""
    return any(
        BLOCKS.search(name) or (_DOUBLE.fullmatch(name) and tensor.shape[1:] == [_WIDTH])
        for name, tensor in header.tensors.items()
    )


def check_flux_lora(header: Header) -> None:
    """Raise WrongKeys, naming the key, for a LoRA of another kind or model, and for names that FLUX.1 has not."""
    for key in _STATED:
        if _OTHERS.search(stated := header.metadata.get(key, "")):
            raise WrongKeys(f"{header.file}: {key} is {stated[:40]!r}; of that family LoRAs of FLUX.1 are served")
    for name in header.tensors:
        if _CONTROL.search(name):
            raise WrongKeys(
                f"{header.file}: {name}: belongs to a control LoRA, which follows a map and is no style; redux uses "
                "those of FLUX.1 Canny and Depth by params.control: stylize models pull flux1-canny-lora"
            )
        if _FLUX2.search(name):
            raise WrongKeys(f"{header.file}: {name}: is made for FLUX.2, whose LoRAs are not served")
    for name in header.tensors:
        place_of(name.removesuffix("alpha") + "lora_up.weight" if name.endswith(".alpha") else name)


def base_of_flux_lora(header: Header) -> Base:
    """Return `flux`, whose LoRAs its relatives take, too, unless the first layer reads what only another one does."""
    for name, tensor in header.tensors.items():
        if _FIRST.search(name):
            channels = tensor.shape[-1]
            if channels not in _CHANNELS:
                raise WrongKeys(
                    f"{header.file}: {name}: reads {channels} channels; of FLUX.1 it reads 64, of Fill 384, and other "
                    "numbers are those of control LoRAs, which follow a map and are no style"
                )
            return _CHANNELS[channels]
    return "flux"
