"""A QR code of a short text, for a telephone to read off the terminal (ISO/IEC 18004): bytes, level L, versions 1 to 9."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# For versions 1 to 9 at level L: codewords of one block's data, blocks, codewords of error correction of each block.
# Version 9 and less have blocks of one length at this level.
_VERSIONS = (
    (19, 1, 7),
    (34, 1, 10),
    (55, 1, 15),
    (80, 1, 20),
    (108, 1, 26),
    (68, 2, 18),
    (78, 2, 20),
    (97, 2, 24),
    (116, 2, 30),
)
_ALIGNMENT: tuple[tuple[int, ...], ...] = (
    (),
    (6, 18),
    (6, 22),
    (6, 26),
    (6, 30),
    (6, 34),
    (6, 22, 38),
    (6, 24, 42),
    (6, 26, 46),
)
MASKS: tuple[Callable[[int, int], int], ...] = (
    lambda x, y: (x + y) % 2,
    lambda _x, y: y % 2,
    lambda x, _y: x % 3,
    lambda x, y: (x + y) % 3,
    lambda x, y: (x // 3 + y // 2) % 2,
    lambda x, y: x * y % 2 + x * y % 3,
    lambda x, y: (x * y % 2 + x * y % 3) % 2,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2,
)


def _tables() -> tuple[list[int], list[int]]:
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value <<= 1
        if value & 0x100:
            value ^= 0x11D  # the field's polynomial, section 7.5.2
    return powers, logs


def _correction(data: list[int], count: int) -> list[int]:
    """Reed-Solomon: the remainder of the data by the generator of `count` roots."""
    powers, logs = _tables()

    def times(a: int, b: int) -> int:
        return powers[(logs[a] + logs[b]) % 255] if a and b else 0

    generator = [1]
    for root in range(count):
        longer = [*generator, 0]
        for place, factor in enumerate(generator):
            longer[place + 1] ^= times(factor, powers[root])
        generator = longer
    rest = [0] * count
    for byte in data:
        lead = byte ^ rest[0]
        rest = [*rest[1:], 0]
        for place in range(count):
            rest[place] ^= times(generator[place + 1], lead)
    return rest


def _codewords(text: bytes, version: int) -> list[int]:
    size, blocks, correction = _VERSIONS[version - 1]
    capacity = size * blocks * 8
    bits = f"0100{len(text):08b}" + "".join(f"{byte:08b}" for byte in text)
    bits += "0" * min(4, capacity - len(bits))
    bits += "0" * (-len(bits) % 8)
    words = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    words += [(0xEC, 0x11)[place % 2] for place in range(size * blocks - len(words))]
    parts = [words[block * size : (block + 1) * size] for block in range(blocks)]
    checks = [_correction(part, correction) for part in parts]
    mixed = [part[place] for place in range(size) for part in parts]
    return mixed + [check[place] for place in range(correction) for check in checks]


class _Grid:
    """The modules: `dark[y][x]`, and which of them no data may touch."""

    def __init__(self, version: int) -> None:
        self.size = 17 + 4 * version
        self.dark = [[False] * self.size for _ in range(self.size)]
        self.fixed = [[False] * self.size for _ in range(self.size)]
        for x, y in ((3, 3), (self.size - 4, 3), (3, self.size - 4)):
            self._square(x, y, 4, {0, 1, 3})
        places = _ALIGNMENT[version - 1]
        for x in places:
            for y in places:
                if (x, y) not in {(6, 6), (6, places[-1]), (places[-1], 6)}:
                    self._square(x, y, 2, {0, 2})
        for place in range(8, self.size - 8):
            self.put(place, 6, place % 2 == 0)
            self.put(6, place, place % 2 == 0)
        if version >= 7:
            rest = version
            for _ in range(12):
                rest = (rest << 1) ^ ((rest >> 11) * 0x1F25)
            for place in range(18):
                bit = bool((version << 12 | rest) >> place & 1)
                self.put(self.size - 11 + place % 3, place // 3, bit)
                self.put(place // 3, self.size - 11 + place % 3, bit)
        self.format(0)

    def put(self, x: int, y: int, dark: bool) -> None:  # noqa: FBT001  the module itself
        self.dark[y][x], self.fixed[y][x] = dark, True

    def _square(self, middle_x: int, middle_y: int, reach: int, rings: set[int]) -> None:
        for y in range(max(0, middle_y - reach), min(self.size, middle_y + reach + 1)):
            for x in range(max(0, middle_x - reach), min(self.size, middle_x + reach + 1)):
                self.put(x, y, max(abs(x - middle_x), abs(y - middle_y)) in rings)

    def format(self, mask: int) -> None:
        """Section 7.9: level L and the mask, twice, with its own correction."""
        data = 0b01 << 3 | mask
        rest = data
        for _ in range(10):
            rest = (rest << 1) ^ ((rest >> 9) * 0x537)
        bits = (data << 10 | rest) ^ 0x5412
        for place in range(15):
            bit = bool(bits >> place & 1)
            if place < 6:
                self.put(8, place, bit)
            elif place < 8:
                self.put(8, place + 1, bit)
            elif place == 8:
                self.put(7, 8, bit)
            else:
                self.put(14 - place, 8, bit)
            if place < 8:
                self.put(self.size - 1 - place, 8, bit)
            else:
                self.put(8, self.size - 15 + place, bit)
        self.put(8, self.size - 8, True)

    def fill(self, words: list[int]) -> None:
        """The codewords, in columns of two, up and down from the lower right."""
        bits = [word >> shift & 1 for word in words for shift in range(7, -1, -1)]
        place = 0
        for right in range(self.size - 1, 0, -2):
            column = right if right > 6 else right - 1
            upward = (column + 1) & 2 == 0
            for step in range(self.size):
                y = self.size - 1 - step if upward else step
                for x in (column, column - 1):
                    if not self.fixed[y][x] and place < len(bits):
                        self.dark[y][x] = bool(bits[place])
                        place += 1

    def mask(self, number: int) -> None:
        """Turns every data module where the mask says so; twice is as never."""
        rule = MASKS[number]
        for y in range(self.size):
            for x in range(self.size):
                if not self.fixed[y][x] and rule(x, y) == 0:
                    self.dark[y][x] = not self.dark[y][x]

    def penalty(self) -> int:
        """Section 7.8.3: what makes a pattern hard to read."""
        lines = ["".join("1" if dark else "0" for dark in row) for row in self.dark]
        lines += ["".join(column) for column in zip(*lines)]
        total = 0
        for line in lines:
            run = 1
            for place in range(1, self.size + 1):
                if place < self.size and line[place] == line[place - 1]:
                    run += 1
                else:
                    total += run - 2 if run >= 5 else 0
                    run = 1
            total += 40 * (line.count("00001011101") + line.count("10111010000"))
        for y in range(self.size - 1):
            for x in range(self.size - 1):
                same = {self.dark[y][x], self.dark[y][x + 1], self.dark[y + 1][x], self.dark[y + 1][x + 1]}
                total += 3 if len(same) == 1 else 0
        share = sum(map(sum, self.dark)) * 20 // (self.size * self.size)
        return total + 10 * min(abs(share - 10), abs(share - 9))


def modules(text: str) -> list[list[bool]]:
    """The code of `text`, True where it is dark, without the quiet zone around it. Raises ValueError above 230 bytes."""
    data = text.encode()
    fitting = [number for number, (size, blocks, _) in enumerate(_VERSIONS, start=1) if len(data) + 2 <= size * blocks]
    if not fitting:
        raise ValueError("too long for a code that fits a terminal")
    version = fitting[0]
    grid = _Grid(version)
    grid.fill(_codewords(data, version))
    best = 0
    lowest = None
    for number in range(8):
        grid.format(number)
        grid.mask(number)
        penalty = grid.penalty()
        grid.mask(number)
        if lowest is None or penalty < lowest:
            best, lowest = number, penalty
    grid.format(best)
    grid.mask(best)
    return grid.dark


def drawn(text: str, *, colour: bool) -> list[str]:
    """Lines of half blocks, with a quiet zone. With `colour`, black on white whatever the terminal's own colours are;
    without, light modules are drawn, as most terminals are dark (telephones read either).
    """
    code = modules(text)
    quiet = 2
    width = len(code) + 2 * quiet
    blank = [[False] * width for _ in range(quiet)]
    rows = [*blank, *([False] * quiet + row + [False] * quiet for row in code), *blank]
    if len(rows) % 2:
        rows.append([False] * width)
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2]):
        if colour:
            cells = "".join("█" if a and b else "▀" if a else "▄" if b else " " for a, b in zip(upper, lower))
            lines.append(f"\x1b[38;5;16;48;5;231m{cells}\x1b[0m")
        else:
            lines.append("".join(" " if a and b else "▄" if a else "▀" if b else "█" for a, b in zip(upper, lower)))
    return lines
