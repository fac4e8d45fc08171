"""Draws a piece of countryside as seen from above. Pillow only; the same dice draw the same land."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Final, TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float]

_CROPS: Final[tuple[Color, ...]] = (
    *((112, 140, 62), (92, 126, 58), (136, 152, 74)),  # green in three states of growth
    *((190, 170, 96), (206, 188, 120)),  # grain
    *((128, 98, 70), (146, 112, 80)),  # ploughed
    (204, 190, 88),  # rape in flower
)
_ROOFS: Final[tuple[Color, ...]] = ((158, 74, 56), (140, 62, 50), (122, 96, 84), (96, 98, 104))
_HEDGE: Final[Color] = (64, 90, 44)
_ROAD: Final[Color] = (134, 132, 128)
_LINE: Final[Color] = (228, 226, 214)
_WATER: Final[Color] = (62, 98, 112)
_BANK: Final[Color] = (88, 112, 66)
_SMALLEST_FIELD: Final = 260.0
_WOODS: Final = 9


def draw_terrain(size: tuple[int, int], dice: Random) -> Image.Image:
    """Fields, a stream, a road with a village beside it, and woods; light comes from the south-west."""
    land = Image.new("RGB", size)
    for field in _fields((0.0, 0.0, float(size[0]), float(size[1])), dice):
        _draw_field(land, field, dice)
    draw = ImageDraw.Draw(land)
    _draw_stream(draw, size, dice)
    road = _wave(size, dice, height=0.55, swing=0.06)
    _draw_road(draw, road)
    for number, point in enumerate(road[3::4]):
        _draw_house(draw, point, (-1, 1)[number % 2], dice)
    for _ in range(_WOODS):
        _draw_wood(draw, (dice.uniform(0, size[0]), dice.uniform(0, size[1])), dice)
    return _weathered(land, dice)


def _fields(box: Box, dice: Random) -> Iterator[Box]:
    """Halve the land until fields are small enough, as inheritance does."""
    left, top, right, bottom = box
    across, down = right - left, bottom - top
    if max(across, down) < 2 * _SMALLEST_FIELD or (
        max(across, down) < 3 * _SMALLEST_FIELD and dice.random() < 0.3
    ):
        yield box
        return
    cut = dice.uniform(0.35, 0.65)
    if across > down:
        middle = left + across * cut
        halves = [(left, top, middle, bottom), (middle, top, right, bottom)]
    else:
        middle = top + down * cut
        halves = [(left, top, right, middle), (left, middle, right, bottom)]
    for half in halves:
        yield from _fields(half, dice)


def _draw_field(land: Image.Image, box: Box, dice: Random) -> None:
    """A field with its rows, cut to shape by pasting; a hedge runs around it."""
    left, top, right, bottom = (round(edge) for edge in box)
    across, down = max(1, right - left), max(1, bottom - top)
    color = dice.choice(_CROPS)
    field = Image.new("RGB", (across, down), color)
    draw = ImageDraw.Draw(field)
    lean, gap = dice.uniform(-0.6, 0.6), dice.choice((7, 10, 14))
    for x in range(-down, across + down, gap):
        draw.line((x, 0, x + lean * down, down), fill=_shade(color, 0.93), width=gap // 3)
    draw.rectangle((0, 0, across - 1, down - 1), outline=_HEDGE, width=dice.choice((2, 3, 5)))
    land.paste(field, (left, top))


def _wave(size: tuple[int, int], dice: Random, *, height: float, swing: float) -> list[Point]:
    """A curve from the western to the eastern edge."""
    phase, bend = dice.uniform(0, math.tau), dice.uniform(1.2, 2.0)
    return [
        (x, size[1] * (height + swing * math.sin(phase + bend * math.tau * x / size[0])))
        for x in range(-20, size[0] + 40, 20)
    ]


def _draw_stream(draw: ImageDraw.ImageDraw, size: tuple[int, int], dice: Random) -> None:
    course = _wave(size, dice, height=0.2, swing=0.1)
    draw.line(course, fill=_BANK, width=46, joint="curve")
    draw.line(course, fill=_WATER, width=24, joint="curve")


def _draw_road(draw: ImageDraw.ImageDraw, course: list[Point]) -> None:
    draw.line(course, fill=_shade(_ROAD, 0.8), width=46, joint="curve")
    draw.line(course, fill=_ROAD, width=40, joint="curve")
    for start, end in list(pairwise(course))[::2]:
        draw.line((start, end), fill=_LINE, width=2)


def _draw_house(draw: ImageDraw.ImageDraw, beside: Point, side: int, dice: Random) -> None:
    """A yard, a shadow and a roof of two slopes, a little off the road."""
    x, y = beside[0], beside[1] + side * dice.uniform(70, 130)
    length, depth, turn = dice.uniform(36, 64), dice.uniform(26, 40), dice.uniform(-0.3, 0.3)
    color = dice.choice(_ROOFS)
    draw.polygon(_turned((x, y), length * 1.9, depth * 2.2, turn), fill=(122, 150, 84))
    draw.polygon(_turned((x + 7, y - 8), length, depth, turn), fill=(52, 60, 46))
    draw.polygon(_turned((x, y), length, depth, turn), fill=_shade(color, 0.78))
    draw.polygon(_turned((x, y + depth / 4), length, depth / 2, turn), fill=color)


def _draw_wood(draw: ImageDraw.ImageDraw, center: Point, dice: Random) -> None:
    """Crowns with their shadows, denser in the middle."""
    for _ in range(dice.randint(14, 60)):
        x, y = dice.gauss(center[0], 70), dice.gauss(center[1], 45)
        radius = dice.uniform(7, 17)
        crown = _shade((66, 98, 46), dice.uniform(0.8, 1.25))
        draw.ellipse(_around((x + radius / 2, y - radius / 2), radius), fill=(40, 54, 32))
        draw.ellipse(_around((x, y), radius), fill=crown)
        draw.ellipse(_around((x - radius / 3, y + radius / 3), radius / 2), fill=_shade(crown, 1.15))


def _weathered(land: Image.Image, dice: Random) -> Image.Image:
    """Soil and growth are never even: coarse patches and fine grain, over softened edges."""
    coarse = (land.width // 40, land.height // 40)
    patches = _noise(coarse, dice, 0.8).resize(land.size, Image.Resampling.BICUBIC)
    grain = _noise(land.size, dice, 0.5)
    texture = Image.blend(patches, grain, 0.5).convert("RGB")
    return ImageChops.soft_light(land.filter(ImageFilter.SMOOTH), texture)


def _noise(size: tuple[int, int], dice: Random, contrast: float) -> Image.Image:
    """Grey of even chances around the middle."""
    grey = Image.frombytes("L", size, dice.randbytes(size[0] * size[1]))
    return grey.point([round(128 + (value - 128) * contrast) for value in range(256)])


def _turned(center: Point, length: float, depth: float, angle: float) -> list[Point]:
    """The corners of a rectangle around `center`, turned by `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [
        (
            center[0] + cosine * a * length / 2 - sine * b * depth / 2,
            center[1] + sine * a * length / 2 + cosine * b * depth / 2,
        )
        for a, b in corners
    ]


def _around(center: Point, radius: float) -> Box:
    return center[0] - radius, center[1] - radius, center[0] + radius, center[1] + radius


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue
