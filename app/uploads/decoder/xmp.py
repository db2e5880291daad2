"""The recipe in an XMP packet, as attribute or element: editors write the packet anew in their own form."""

import codecs
from xml.parsers import expat  # no DTD is taken, hence no entities

from app.uploads.decoder.picture_file import KEY

NAMESPACE = "https://stylize.invalid/ns/1.0/"
PREFIX, NAME = KEY.split(":")
MAX_PACKET_BYTES = 1 << 20
NOT_IN_XML = ("\ufffe", "\uffff")


def parse_xmp(packet: bytes) -> str:
    """Return the recipe in a packet, empty without one. A packet that breaks off behind it is good enough."""
    if len(packet) > MAX_PACKET_BYTES:
        return ""
    for letter in NOT_IN_XML:  # which JSON can spell otherwise
        packet = packet.replace(letter.encode(), f"\\u{ord(letter):x}".encode())
    finder = RecipeFinder()
    # whatever encoding the packet declares: to look another up, Python would have to open files
    parser = expat.ParserCreate("utf-16" if packet[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = finder.refuse
    parser.StartElementHandler = finder.start
    parser.CharacterDataHandler = finder.take
    parser.EndElementHandler = finder.end
    try:
        parser.Parse(packet.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, HasDoctype):
        return finder.found
    return finder.found


class HasDoctype(Exception):
    """The packet declares a document type, which none does."""


class RecipeFinder:
    """Takes the first attribute or element of the recipe's name; in an element also rdf:value, rdf:Alt and the like."""

    def __init__(self) -> None:
        self.found = ""
        self._prefixes = {PREFIX}
        self._depth = 0
        self._text: list[str] = []

    def refuse(self, *_: object) -> None:
        """Raise HasDoctype."""
        raise HasDoctype

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Enter an element."""
        declared = {key for key, value in attributes.items() if value == NAMESPACE}
        self._prefixes |= {key.partition(":")[2] for key in declared if key.partition(":")[0] == "xmlns"}
        self._text.clear()
        inside = bool(self._depth) or self._is_recipe(name)
        self._depth += inside
        for key, value in attributes.items():
            if self._is_recipe(key) or (inside and key == "rdf:value"):
                self.found = self.found or value

    def take(self, text: str) -> None:
        """Collect the text of the innermost element."""
        if self._depth:
            self._text.append(text)

    def end(self, _: str) -> None:
        """Leave an element."""
        if self._depth:
            self._depth -= 1
            self.found = self.found or "".join(self._text).strip()
            self._text.clear()

    def _is_recipe(self, name: str) -> bool:
        prefix, _, local = name.rpartition(":")
        return local == NAME and prefix in self._prefixes
