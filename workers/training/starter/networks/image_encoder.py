"""The image encoder's shape and the preparation of its input: CLIP's vision tower, small."""

from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from workers.training.starter.networks.text import PROJECTION_DIM
from workers.training.starter.world.picture import SIZE


def build_image_encoder() -> CLIPVisionModelWithProjection:
    """Four layers over 8 x 8 patches of 16 pixels; projects into the space that the text encoder shares."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=512,
            projection_dim=PROJECTION_DIM,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=SIZE,
            patch_size=16,
        )
    )


def build_image_processor() -> CLIPImageProcessor:
    """Resize to 128 pixels and normalise to [-1, 1]."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
