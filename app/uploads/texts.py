"""The texts of a form, from bytes in whatever charset a client sends them in."""

import codecs
import re

from app.errors import Fault, Invalid, UnsupportedMedia, encodable
from app.uploads.form_schema import CHARSET, FormSchema

SEPARATORS = re.compile(r"[^a-z0-9]+")
MOST_CHARSET = 40
CHARSETS = re.compile(
    r"ascii|utf-8|utf-(16|32)(-[lb]e)?|iso8859-[0-9]+|cp125[0-8]|cp932|cp949|koi8-[ru]|mac-roman|tis-620|shift_jis|"
    r"euc_jp|iso2022_jp|euc_kr|gb2312|gbk|gb18030|big5"
)
"""Those of texts, by Python's names: it has other codecs, too."""
READ_AS = {"ascii": "utf-8-sig", "utf-8": "utf-8-sig", "iso8859-1": "cp1252"}
"""Supersets that clients mean by these names, as the Encoding standard has it; a byte order mark is no text."""


class FormTexts:
    """Collects the texts of a form; decodes them at its end, as `_charset_` may come last."""

    def __init__(self, schema: FormSchema, charset: str = "") -> None:
        self._schema = schema
        self._charset = charset
        self._parts: dict[str, list[tuple[bytes, str]]] = {}

    def check_new(self, name: str) -> None:
        """Raise Invalid when a field that may be there once has come before."""
        if name in self._parts and name not in self._schema.lists:
            raise Invalid.of([Fault(f"#/{name}", "is there more than once")])

    def add(self, name: str, data: bytes, charset: str = "") -> None:
        """Take the bytes of a field. Raises Invalid as `check_new`."""
        self.check_new(name)
        self._parts.setdefault(name, []).append((data, charset))

    def decode(self) -> dict[str, str]:
        """Return the texts by field; those of a list are joined by commas. Raises Invalid or UnsupportedMedia."""
        for data, _ in self._parts.pop(CHARSET, []):
            self._charset = data.decode("ascii", "replace").strip()
        return {
            name: ",".join(decoded(data, charset or self._charset, name) for data, charset in parts)
            for name, parts in self._parts.items()
        }


def decoded(data: bytes, charset: str, name: str) -> str:
    """Return a field's text. Raises Invalid when it is not of the charset, UnsupportedMedia for an unknown one."""
    codec = _codec_of(charset, name)
    try:
        text = data.decode(codec)
        text.encode()  # some codecs let half a surrogate pair through
    except UnicodeError as fault:
        raise Invalid.of([Fault(f"#/{name}", f"must be {_shown(charset) or 'UTF-8'}")]) from fault
    return text


def _codec_of(charset: str, name: str) -> str:
    if not charset:
        return READ_AS["utf-8"]
    label = SEPARATORS.sub("-", charset[:MOST_CHARSET].lower()).strip("-")  # Python keeps each name it has looked up
    try:
        codec = codecs.lookup(label).name
    except LookupError:
        codec = ""
    if not CHARSETS.fullmatch(codec):
        detail = f"the charset {_shown(charset)} is not known; send UTF-8"
        raise UnsupportedMedia(f"{name}: {detail}", errors=[Fault(f"#/{name}", detail)])
    return READ_AS.get(codec, codec)


def _shown(charset: str) -> str:
    return "".join(letter for letter in encodable(charset[:MOST_CHARSET]) if letter.isprintable())
