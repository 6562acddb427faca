# SPDX-License-Identifier: Apache-2.0
"""Guest memory to move, as raw images in the cache folder. Without holes: zero pages are there, and are looked at."""
import os, random, subprocess

from . import CACHE, HarnessError, pageferry

FOLDER = os.path.join(CACHE, "perf")
RUN = 64 << 10
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def byte_count(text):
    """`1GiB`, `512MiB`."""
    number, unit = text[:-3], text[-3:]
    if unit not in UNITS or not number.isdigit() or not int(number):
        raise HarnessError(f"a size is a number and KiB, MiB or GiB, not '{text}'")
    return int(number) * UNITS[unit]


class Content:
    """A raw image; `description` is compared when results are."""

    def __init__(self, path, description):
        self.path, self.description = path, description
        self.byte_count = os.path.getsize(path)


def make(spec, note=print):
    """`spec` is a scenario's [content]: {guest = "1024m"}, or {mix = "25:50:25", memory = "1GiB", seed = 1}."""
    os.makedirs(FOLDER, exist_ok=True)
    if "guest" in spec:
        name = f"guest-{spec['guest']}-t0.raw"
        image = os.path.join(CACHE, "images", name)
        if not os.path.exists(image):
            memory = spec["guest"].removesuffix("m")
            raise HarnessError(f"no image {image}: perf/guest/capture --memory {memory} --output {CACHE}/images")
        path = os.path.join(FOLDER, name)
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(image):
            note(f"{name}: a copy without holes")
            fill_holes(image, path)
        return Content(path, f"RAM of a Debian guest, {spec['guest']}")
    size, mix, seed = byte_count(spec["memory"]), spec["mix"], spec.get("seed", 1)
    shares(mix)
    ours = pageferry.command()
    by_command = pageferry.offers(ours, "bench", "content")
    maker = "" if by_command else "-python"
    path = os.path.join(FOLDER, f"mix-{mix.replace(':', '-')}-{spec['memory']}-{seed}{maker}.raw")
    if not os.path.exists(path) or os.path.getsize(path) != size:
        note(f"{os.path.basename(path)}: being made")
        partial = path + ".partial"
        if by_command:
            subprocess.run([ours, "bench", "content", partial, "--memory", spec["memory"], "--mix", mix, "--seed",
                            str(seed), "--replace"], check=True, stdout=subprocess.DEVNULL)
            fill_holes(partial, path)
            os.unlink(partial)
        else:
            generate(partial, size, shares(mix), seed)
            os.rename(partial, path)
    return Content(path, f"{mix} zero : words : random, {spec['memory']}, seed {seed}{maker}")


def shares(mix):
    try:
        parts = [int(word) for word in mix.split(":")]
    except ValueError:
        parts = []
    if len(parts) != 3 or min(parts) < 0 or sum(parts) != 100:
        raise HarnessError(f"a mix is three shares of 100, zero:words:random, not '{mix}'")
    return parts


def fill_holes(image, path):
    """Copies all bytes, zeros too: a hole is never read, so it costs one engine nothing and the other all."""
    partial = path + ".dense"
    with open(image, "rb", buffering=0) as source, open(partial, "wb", buffering=0) as copy:
        while chunk := source.read(1 << 22):
            copy.write(chunk)
    os.rename(partial, path)


def generate(path, size, mix, seed):
    """Runs of 64 KiB of one kind each, drawn by a seeded generator. Words: about three to one under zstd:1."""
    draw = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = [("".join(draw.choices(letters, k=draw.randint(2, 9))) + " ").encode() for _ in range(4096)]
    # Few words are frequent, as in any text.
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    with open(path, "wb") as file:
        for start in range(0, size, RUN):
            length = min(RUN, size - start)
            kind = draw.choices((0, 1, 2), mix)[0]
            if kind == 0:
                file.write(bytes(length))
            elif kind == 2:
                file.write(draw.randbytes(length))
            else:
                words = b"".join(draw.choices(vocabulary, weights, k=length // 4))
                file.write(words[:length])
