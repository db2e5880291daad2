"""What FLUX.2 [klein] is told: the prompt, and which picture is to give what."""

TAKEN = "medium, palette, line and light, not {whose} objects"
WITH_CONTENT = "image 1 rendered in the style of {styles}: {what}. {prompt}"
WITHOUT_CONTENT = "{prompt}, in the style of {styles}: {what}."


def told(prompt: str, template: str | None, *, content: bool, styles: int) -> str:
    """Return the prompt in the template, by default one that fits the pictures; as it is without style images."""
    if not styles:
        return prompt
    default = (WITH_CONTENT if content else WITHOUT_CONTENT).replace("{what}", _what(styles))
    named = (template or default).replace("{styles}", _names(styles, first=2 if content else 1))
    return named.replace("{prompt}", prompt).strip()


def _what(styles: int) -> str:
    whose = "its" if styles == 1 else "their"
    return f"{whose} {TAKEN.replace('{whose}', whose)}"


def _names(count: int, first: int) -> str:
    """Return `image 2`, `images 2 and 3` or `images 2, 3 and 4`."""
    if count == 1:
        return f"image {first}"
    *before, last = map(str, range(first, first + count))
    return f"images {', '.join(before)} and {last}"
