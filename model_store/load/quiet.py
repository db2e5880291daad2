"""Keep progress bars and advice of the model libraries away from people and logs."""

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


def quiet_libraries() -> None:
    """Let diffusers and transformers tell errors alone; called before their models are imported, which give advice."""
    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()
