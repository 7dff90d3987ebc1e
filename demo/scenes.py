"""Backgrounds of the world: two layers under a sky, which scroll as a clip goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SceneStyle:
    sky: tuple  # RGB at the top, RGB at the horizon
    ground: tuple  # RGB of the far layer, RGB of the near layer
    horizon: float  # height of the far layer, fraction of the picture from the top
    waves: tuple  # amplitude (fraction), waves across the picture: of the far layer, of the near layer
    place: str  # how a caption says it
    disc: tuple | None = None  # RGB of a sun, moon or lamp


SCENES = {
    "meadow": SceneStyle(
        sky=((150, 200, 240), (206, 228, 244)),
        ground=((150, 196, 120), (118, 172, 96)),
        horizon=0.46,
        waves=(0.05, 1, 0.06, 1),
        place="on the meadow",
    ),
    "desert": SceneStyle(
        sky=((246, 214, 170), (250, 232, 204)),
        ground=((226, 188, 134), (208, 164, 108)),
        horizon=0.5,
        waves=(0.03, 1, 0.07, 1),
        place="on the desert",
        disc=(252, 240, 180),
    ),
    "sea": SceneStyle(
        sky=((206, 226, 230), (226, 236, 236)),
        ground=((104, 164, 196), (78, 138, 178)),
        horizon=0.4,
        waves=(0.012, 3, 0.03, 2),
        place="on the sea",
    ),
    "snow": SceneStyle(
        sky=((168, 182, 206), (196, 206, 222)),
        ground=((222, 230, 240), (206, 216, 232)),
        horizon=0.52,
        waves=(0.06, 1, 0.05, 2),
        place="on the snow",
    ),
    "night": SceneStyle(
        sky=((38, 40, 84), (66, 66, 116)),
        ground=((54, 74, 92), (44, 60, 78)),
        horizon=0.56,
        waves=(0.05, 2, 0.05, 1),
        place="in the night",
        disc=(232, 228, 200),
    ),
    "road": SceneStyle(
        sky=((196, 190, 184), (216, 208, 200)),
        ground=((150, 148, 150), (122, 120, 124)),
        horizon=0.44,
        waves=(0.0, 1, 0.0, 1),
        place="on the road",
    ),
    "room": SceneStyle(
        sky=((232, 208, 200), (238, 218, 208)),
        ground=((168, 124, 96), (150, 108, 82)),
        horizon=0.62,
        waves=(0.0, 1, 0.0, 1),
        place="in the room",
        disc=(252, 236, 206),
    ),
    "clouds": SceneStyle(
        sky=((112, 160, 226), (150, 190, 238)),
        ground=((204, 220, 244), (232, 238, 250)),
        horizon=0.58,
        waves=(0.07, 3, 0.07, 2),
        place="in the clouds",
    ),
}


def background(scene: str, phase: float, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float RGB 0..255; `phase` scrolls the layers, the near one twice as fast as the far one."""
    style = SCENES[scene]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / height
    top, bottom = (np.array(colour, np.float32) for colour in style.sky)
    picture = mix(top, bottom, np.clip(v / style.horizon, 0, 1))
    if style.disc:
        distance = np.hypot(x - (0.78 - 0.02 * np.sin(phase)) * width, y - 0.17 * height)
        picture = mix(picture, np.array(style.disc, np.float32), np.clip(0.085 * height - distance + 0.5, 0, 1))
    far_amplitude, far_waves, near_amplitude, near_waves = style.waves
    breath = 0.008 * np.sin(0.7 * phase)
    layers = (
        (style.horizon, far_amplitude, far_waves, 1.0, style.ground[0]),
        (style.horizon + 0.24, near_amplitude, near_waves, 2.0, style.ground[1]),
    )
    for level, amplitude, waves, speed, colour in layers:
        edge = level + breath + amplitude * np.sin(2 * np.pi * waves * u + speed * phase)
        picture = mix(picture, np.array(colour, np.float32), np.clip((v - edge) * height + 0.5, 0, 1))
    return picture


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return a + (b - a) * weight[..., None]
