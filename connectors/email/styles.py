"""What the styles of a piece of HTML make of it: text that a person can see, or text that only a machine would read.

No cascade of a browser: of several rules the last one wins, inline styles win over sheets, and `!important` over both. That
is enough for what mail programs write, and errs towards what is shown where a value is not understood.
"""

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

Colour = tuple[int, int, int]

LEAST_SIZE_PX = 3.0
LEAST_CONTRAST = 20
"""Of 255, in the colour that differs most; text below it cannot be told from its ground."""
OFF_SCREEN_PX = 100.0

_NAMED: dict[str, Colour] = {
    "white": (255, 255, 255), "black": (0, 0, 0), "ivory": (255, 255, 240), "snow": (255, 250, 250),
    "whitesmoke": (245, 245, 245), "ghostwhite": (248, 248, 255), "floralwhite": (255, 250, 240),
    "mintcream": (245, 255, 250), "azure": (240, 255, 255), "seashell": (255, 245, 238), "honeydew": (240, 255, 240),
    "aliceblue": (240, 248, 255), "lavenderblush": (255, 240, 245), "oldlace": (253, 245, 230), "linen": (250, 240, 230),
    "red": (255, 0, 0), "green": (0, 128, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "navy": (0, 0, 128),
    "gray": (128, 128, 128), "grey": (128, 128, 128), "silver": (192, 192, 192), "yellow": (255, 255, 0),
    "orange": (255, 165, 0), "purple": (128, 0, 128), "maroon": (128, 0, 0), "teal": (0, 128, 128),
}  # fmt: skip
_SIZES_PX = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0
}  # fmt: skip
_UNITS_PX = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 37.8,
    "mm": 3.78,
    "vw": 6.0,
    "vh": 6.0,
}

_LENGTH = re.compile(r"(-?\d{0,6}\.?\d{1,6})(px|pt|pc|in|cm|mm|vw|vh|r?em|ex|ch|%|)", re.ASCII)
_HEX = re.compile(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})(?![0-9a-f])")
_FUNCTION = re.compile(r"(rgb|hsl)a?\(([^()]{1,60})\)")
_PICTURE = re.compile(r"url\(|gradient\(|image\(")
_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Look:
    """How text looks at one place; elements inside inherit it."""

    colour: Colour | None = (0, 0, 0)
    """None: nobody can tell, such as `currentcolor`."""
    ground: Colour | None = (255, 255, 255)
    """None: a picture, or nobody can tell."""
    size_px: float = 16.0
    is_visible: bool = True
    is_transparent: bool = False

    @property
    def shows(self) -> bool:
        """Whether a person can read text that looks like this."""
        if not self.is_visible or self.is_transparent or self.size_px < LEAST_SIZE_PX:
            return False
        if self.colour is None or self.ground is None:
            return True
        contrast = max(abs(one - other) for one, other in zip(self.colour, self.ground, strict=True))
        return contrast >= LEAST_CONTRAST

    def within(self, style: Mapping[str, str]) -> "Look":
        """Return how text looks in an element with this style."""
        look = self
        if (size := _font_size(style, self.size_px)) is not None:
            look = replace(look, size_px=size)
        if (visibility := style.get("visibility")) is not None:
            look = replace(look, is_visible=visibility not in {"hidden", "collapse"})
        if (value := style.get("color")) is not None and value != "inherit":
            look = replace(look, colour=colour_of(value), is_transparent=is_transparent(value))
        for name in ("background-color", "background", "background-image"):
            value = style.get(name, "")
            if value and value not in {"none", "inherit", "initial"} and not is_transparent(value):
                look = replace(look, ground=None if _PICTURE.search(value) else colour_of(value))
        return look


def declarations(style: str) -> dict[str, str]:
    """Return property and value of each declaration, lower case; the last one of a property wins."""
    found = {}
    for declaration in style[:10_000].lower().split(";"):
        name, _, value = declaration.partition(":")
        found[name.strip()] = " ".join(value.replace("!important", "").split())
    return found


def is_removed(style: Mapping[str, str]) -> bool:
    """Tell whether an element with this style is out of sight with all that is in it, whatever that says."""
    if (
        style.get("display") == "none"
        or style.get("mso-hide") == "all"
        or style.get("content-visibility") == "hidden"
    ):
        return True
    if (opacity := _length(style.get("opacity", ""), 1.0)) is not None and opacity <= 0.05:
        return True
    return _is_squeezed(style) or _is_off_screen(style) or _is_clipped(style)


def _is_squeezed(style: Mapping[str, str]) -> bool:
    """Without `overflow: hidden` what is in a box of no size hangs out of it, and is seen."""
    if not {"hidden", "clip"} & set(
        " ".join(style.get(f"overflow{axis}", "") for axis in ("", "-x", "-y")).split()
    ):
        return False
    sizes = (_length(style.get(name, ""), 1000.0) for name in ("height", "width", "max-height", "max-width"))
    return any(size is not None and size <= 1.0 for size in sizes)


def _is_off_screen(style: Mapping[str, str]) -> bool:
    shifts = [style.get("text-indent", ""), style.get("margin-left", ""), style.get("margin-top", "")]
    if style.get("position") in {"absolute", "fixed", "relative"}:
        shifts += [style.get(side, "") for side in _SIDES]
    lengths = (_length(shift, 16.0) for shift in shifts)
    if any(length is not None and length <= -OFF_SCREEN_PX for length in lengths):
        return True
    transform = style.get("transform", "")
    moved = [_length(value, 16.0) for value in re.findall(r"translate[xy]?\(([^,()]{1,20})", transform)]
    return bool(re.search(r"scale[xy]?\( ?0(\.0+)? ?[,)]", transform)) or any(
        length is not None and abs(length) >= OFF_SCREEN_PX * 5 for length in moved
    )


def _is_clipped(style: Mapping[str, str]) -> bool:
    clip = re.fullmatch(r"rect\(([^()]{1,60})\)", style.get("clip", ""))
    if clip is not None:
        edges = [_length(edge, 16.0) for edge in re.split(r"[ ,]+", clip[1].strip())]
        return all(edge is not None and abs(edge) <= 1.0 for edge in edges)
    path = re.match(r"inset\( ?(\d{1,3})%|circle\( ?0", style.get("clip-path", ""))
    return path is not None and (path[1] is None or int(path[1]) >= 50)


def colour_of(value: str) -> Colour | None:
    """Return the colour a value names, or None where it cannot be told."""
    if (code := _HEX.search(value)) is not None:
        digits = code[1] if len(code[1]) > 4 else "".join(digit * 2 for digit in code[1])
        return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    if (function := _FUNCTION.search(value)) is not None:
        return _computed(function[1], re.split(r"[ ,/]+", function[2].strip()))
    return next((_NAMED[word] for word in value.split() if word in _NAMED), None)


def is_transparent(value: str) -> bool:
    """Tell whether a colour lets everything through."""
    if value == "transparent":
        return True
    if (code := _HEX.fullmatch(value)) is not None:
        return len(code[1]) in {4, 8} and int(code[1][3:4] if len(code[1]) == 4 else code[1][6:8], 16) <= 8
    function = _FUNCTION.fullmatch(value)
    parts = re.split(r"[ ,/]+", function[2].strip()) if function is not None else []
    alpha = _length(parts[3], 1.0) if len(parts) == 4 else None
    return alpha is not None and alpha <= 0.05


def _computed(kind: str, parts: list[str]) -> Colour | None:
    scale = 255.0 if kind == "rgb" else 1.0
    numbers = [_length(part.removesuffix("deg"), scale) for part in parts[:3]]
    one, two, three = numbers if len(numbers) == 3 else (None, None, None)
    if one is None or two is None or three is None:
        return None
    if kind == "hsl":
        red, green, blue = colorsys.hls_to_rgb(one / 360 % 1, min(max(three, 0), 1), min(max(two, 0), 1))
        one, two, three = red * 255, green * 255, blue * 255
    return _byte(one), _byte(two), _byte(three)


def _byte(value: float) -> int:
    return round(min(max(value, 0.0), 255.0))


def _font_size(style: Mapping[str, str], inherited_px: float) -> float | None:
    if (value := style.get("font-size")) is not None:
        return _SIZES_PX.get(value) or _length(value, inherited_px)
    shorthand = re.search(r"(?:^| )(\d[\d.]{0,8}(?:px|pt|r?em|%))(?:/| )", style.get("font", ""))
    return _length(shorthand[1], inherited_px) if shorthand is not None else None


def _length(value: str, relative_to: float) -> float | None:
    """Return a length in pixels; percents and ems count by `relative_to`; None where it is no length."""
    match = _LENGTH.fullmatch(value.strip().removeprefix("calc(").removesuffix(")").strip())
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    if unit == "%":
        return number / 100 * relative_to
    if unit in {"em", "ex", "ch"}:
        return number * (relative_to if unit == "em" else relative_to / 2)
    return number * (16.0 if unit == "rem" else _UNITS_PX[unit])
