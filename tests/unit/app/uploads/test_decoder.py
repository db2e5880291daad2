"""The decoder: real processes, killed, captured and slowed down."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.uploads.buffers import Share, UploadMemory
from app.uploads.decoder import messages
from app.uploads.decoder.normalise import encode, normalise
from app.uploads.decoder.pool import Decoder
from app.uploads.decoder.recipe_text import recipe_text
from app.uploads.decoder.server import outcome
from app.uploads.limits import LONG_SIDE, MAX_SIDE, PictureFileRefused, Verdict
from app.uploads.upload import MASK_POINTER, Upload
from tests.security.corpus.png import chunk, png
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE
from tests.unit.app.uploads.test_png import PIXELS, key, two_colours

LARGE = encoded(Image.effect_noise((4000, 4000), 60), "JPEG", quality=60)


@pytest.fixture
def memory() -> Iterator[UploadMemory]:
    lent = UploadMemory(requests=1, size=1 << 30)
    yield lent
    lent.close()


def upload(memory: UploadMemory, data: bytes, pointer: str = "#/style_image/0") -> Upload:
    made = Upload(pointer, Share(memory, None))
    made.write(memoryview(data))
    return made


def decoding(
    memory: UploadMemory, scenario: Callable[[Decoder], Awaitable[None]], *, seconds: float = PATIENCE
) -> None:
    async def run() -> None:
        decoder = Decoder(memory, parallel=2, seconds=seconds)
        await decoder.start()
        try:
            await scenario(decoder)
        finally:
            await decoder.close()

    asyncio.run(run())
    assert not zygotes()


def zygotes() -> list[int]:
    """The zygotes among the children of this process."""
    own = Path("/proc/self/task").glob("*/children")
    children = [int(child) for path in own for child in path.read_text().split()]
    return [child for child in children if b"app.uploads.decoder.server" in Path(f"/proc/{child}/cmdline").read_bytes()]


def decoding_zygotes() -> list[int]:
    return [pid for pid in zygotes() if Path(f"/proc/{pid}/task/{pid}/children").read_text()]


async def until_one_decodes() -> int:
    """Wait until there is a zygote with a child, and return it."""
    for _ in range(int(PATIENCE / 0.01)):
        if busy := decoding_zygotes():
            return busy[0]
        await asyncio.sleep(0.01)
    raise AssertionError("no zygote decodes")


def test_a_child_decodes_as_the_library_does(memory: UploadMemory) -> None:
    data = encoded(picture(), "JPEG")

    async def scenario(decoder: Decoder) -> None:
        first = upload(memory, data)
        decoded = await decoder.decode(first)
        wanted = BytesIO()
        encode(normalise(BytesIO(data)), wanted)
        assert decoded.png().read() == wanted.getvalue()
        assert decoded.sha256 == hashlib.sha256(wanted.getvalue()).hexdigest()
        assert (decoded.width, decoded.height) == (40, 30)
        decoded.close()
        first.close()

    decoding(memory, scenario)


def test_a_child_reads_all_that_the_library_does(memory: UploadMemory) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    packet = b'<x><stylize:recipe>{"a": "&#252;"}</stylize:recipe></x>'
    declared = b'<?xml version="1.0" encoding="cp037"?>' + packet
    kinds = {
        "turned": encoded(picture(), "PNG", exif=exif),
        "deep": two_colours(16, 2, (1, 2, 3), (4, 5, 6), key(1, 2, 3), interlaced=True),
        "deep grey": two_colours(16, 0, (1,), (2,), key(1)),
        "without end": encoded(picture(), "JPEG", exif=exif, xmp=packet)[:-2],
        "packet": encoded(picture(), "WEBP", exif=exif, xmp=packet),
        "packet of another charset": encoded(picture(), "WEBP", xmp=declared),
        "packed text": png(32, 32, chunk(b"zTXt", b"stylize:recipe\0\0" + zlib.compress(b"{\xfc}")), PIXELS),
    }

    async def scenario(decoder: Decoder) -> None:
        for name, data in kinds.items():
            file = upload(memory, data)
            decoded = await decoder.decode(file)
            wanted = BytesIO()
            encode(normalise(BytesIO(data)), wanted)
            assert decoded.png().read() == wanted.getvalue(), name
            assert decoded.recipe.encode() == recipe_text(BytesIO(data)), name
            decoded.close()
            file.close()

    decoding(memory, scenario)


def test_the_child_decodes_the_mask_of_a_form_as_one(memory: UploadMemory) -> None:
    data, wanted = encoded(picture("RGBA")), BytesIO()
    encode(normalise(BytesIO(data), is_mask=True), wanted)

    async def scenario(decoder: Decoder) -> None:
        mask = upload(memory, data, MASK_POINTER)
        decoded = await decoder.decode(mask)
        assert decoded.png().read() == wanted.getvalue()
        decoded.close()
        mask.close()

    decoding(memory, scenario)


def test_old_bytes_of_a_file_used_again_are_never_seen(memory: UploadMemory) -> None:
    async def scenario(decoder: Decoder) -> None:
        long = upload(memory, encoded(picture(size=(300, 300))))
        (await decoder.decode(long)).close()
        long.close()
        short = upload(memory, encoded(picture(size=(300, 300)))[:200])
        with pytest.raises(PictureFileRefused):
            await decoder.decode(short)
        short.close()

    decoding(memory, scenario)


def test_the_zygote_has_neither_our_environment_nor_our_files_nor_a_network(memory: UploadMemory) -> None:
    async def scenario(_: Decoder) -> None:
        inspect()

    def inspect() -> None:
        (zygote,) = zygotes()
        variables = Path(f"/proc/{zygote}/environ").read_bytes().rstrip(b"\0").split(b"\0")
        assert {variable.partition(b"=")[0] for variable in variables} == {b"PYTHONPATH", b"LANG"}
        assert len(os.listdir(f"/proc/{zygote}/fd")) == 4, "nothing, nothing, the log and the control socket"
        own_network = os.readlink(f"/proc/{zygote}/ns/net") != os.readlink("/proc/self/ns/net")
        assert own_network or not unshare_works()
        assert os.readlink(f"/proc/{zygote}/root") != "/" or not unshare_works()

    decoding(memory, scenario)


def unshare_works() -> bool:
    return subprocess.run(["unshare", "--user", "--net", "true"], check=False, capture_output=True).returncode == 0


def test_a_killed_zygote_is_replaced_and_the_picture_decoded_all_the_same(memory: UploadMemory) -> None:
    async def scenario(decoder: Decoder) -> None:
        (idle,) = zygotes()
        os.kill(idle, signal.SIGKILL)
        await asyncio.sleep(0.2)
        large = upload(memory, LARGE)
        work = asyncio.ensure_future(decoder.decode(large))
        busy = await until_one_decodes()
        assert busy != idle
        os.kill(busy, signal.SIGKILL)
        decoded = await work
        assert decoded.width == LONG_SIDE
        decoded.close()
        large.close()

    decoding(memory, scenario)


def test_a_picture_that_takes_too_long_is_refused_and_the_next_decoded(memory: UploadMemory) -> None:
    async def scenario(decoder: Decoder) -> None:
        large, small = upload(memory, LARGE), upload(memory, encoded(Image.new("L", (16, 16))))
        with pytest.raises(PictureFileRefused) as caught:
            await decoder.decode(large)
        assert caught.value.verdict is Verdict.TIMED_OUT
        for file in (large, small):
            file.close()

    decoding(memory, scenario, seconds=0.05)


def test_many_at_once_are_decoded_in_turn(memory: UploadMemory) -> None:
    async def scenario(decoder: Decoder) -> None:
        files = [upload(memory, encoded(picture(seed=n))) for n in range(12)]
        decoded = await asyncio.gather(*(decoder.decode(file) for file in files))
        assert len({one.sha256 for one in decoded}) == 12
        for one in (*decoded, *files):
            one.close()

    decoding(memory, scenario)


MODES = {"PNG": ("L", "RGB", "RGBA"), "JPEG": ("L", "RGB", "CMYK"), "WEBP": ("RGB", "RGBA")}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_the_largest_pictures_fit_into_a_child(memory: UploadMemory, kind: str, mode: str) -> None:
    data = encoded(Image.new(mode, (MAX_SIDE, 3900)), kind)

    async def scenario(decoder: Decoder) -> None:
        file = upload(memory, data)
        decoded = await decoder.decode(file)
        assert (decoded.width, decoded.height) == (LONG_SIDE, 975)
        decoded.close()
        file.close()

    decoding(memory, scenario)


@given(
    st.binary(max_size=200)
    | st.builds(
        messages.RESULT.pack,
        st.just(messages.MAGIC),
        st.integers(0, 255),
        *[st.integers(0, 2**32 - 1)] * 2,
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
    )
)
def test_a_captured_child_cannot_make_the_zygote_fail(left_behind: bytes) -> None:
    result, target = os.memfd_create("result"), os.memfd_create("target")
    os.write(result, left_behind)
    verdict, *rest = outcome(result, target, 0, late=False)
    assert verdict in set(Verdict)
    if verdict == Verdict.ACCEPTED:
        size, recipe_size, sha256 = rest[2:]
        assert hashlib.sha256(os.pread(target, size, 0)).digest() == sha256
        assert os.fstat(target).st_size == size + recipe_size
    os.close(result)
    os.close(target)


CONFINED = """
import os, socket, sys
from app.uploads.decoder import sandbox
sandbox.isolate()
sandbox.confine(os.memfd_create("result"), max_output=1000)
attempts = {
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "socket": lambda: socket.socket(),
    "memory": lambda: bytearray(2 << 30),
    "output": lambda: os.pwrite(0, bytes(2000), 0) == 2000 or 1 / 0,
}
try:
    attempts[sys.argv[1]]()
except (OSError, MemoryError, ZeroDivisionError):
    os._exit(7)
os._exit(0)
"""


@pytest.mark.parametrize("attempt", ["open", "socket", "memory", "output"])
def test_a_confined_child_gets_nothing_more(attempt: str) -> None:
    status = subprocess.run([sys.executable, "-c", CONFINED, attempt], check=False).returncode
    assert status in (7, -signal.SIGXFSZ)


def test_a_confined_child_runs_out_of_processor_time() -> None:
    program = (
        "import os; from app.uploads.decoder import sandbox\n"
        "sandbox.confine(os.memfd_create('r'), max_output=1)\nwhile 1: 0"
    )
    status = subprocess.run([sys.executable, "-c", program], check=False, timeout=PATIENCE).returncode
    assert status in (-signal.SIGXCPU, -signal.SIGKILL)
