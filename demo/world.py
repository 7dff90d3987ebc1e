"""A procedural world of moving sprites: clips with captions, true masks and trajectories, the true answer to an edit.

A clip is a frozen description (scene, things, tracks), so the truth about an edit is the same description with another
thing in it, drawn again: ``clip.swap(0, other).frames()``. Everything follows from the seed.

>>> clip = make_clip(seed=7, frames=8)
>>> clip.caption                                                     # doctest: +SKIP
'a red ball moving over the meadow'
>>> clip.frames().shape, clip.masks(0).shape
((8, 128, 128, 3), (8, 128, 128))

The *vocabulary* (``SHAPES`` x ``COLOURS`` x ``SCENES``) is what captions name. The world itself is wider, as a
photographed world is: a thing can be striped, two-tone or dotted, have an outline from ``OTHER_SHAPES``, or be a random
blob (shape ``"blob-<seed>"``); `free_thing` draws any outline, pattern and colours. No caption says so; such a thing is
only ever called "a thing".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from .outlines import FREE_FAMILIES, HOLES, SHAPES, centre_of_mass, outline
from .patterns import COLOURS, PATTERNS, pattern_weight, random_colour, random_pattern, rgb
from .scenes import SCENES, background, mix

SIZE = 128
SUPERSAMPLING = 4

RIM = 0.55  # how much of its colour a thing has at its outline


# -------------------------------------------------------------------------------------------------------------- clips
@dataclass(frozen=True)
class Thing:
    """One object's looks. `pattern` and `other_colour` go together; a plain thing has neither."""

    shape: str
    colour: str
    pattern: str | None = None
    other_colour: str | None = None

    @property
    def name(self) -> str:
        """What a caption calls it: colour and shape when the vocabulary has them, else "thing"."""
        plain = self.pattern is None and self.shape in SHAPES and self.colour in COLOURS
        return f"{self.colour} {self.shape}" if plain else "thing"


@dataclass(frozen=True)
class Track:
    """Where a thing is, frame by frame: centre and radius in pixels, angle in radians."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    radius: tuple[float, ...]
    angle: tuple[float, ...]


@dataclass(frozen=True)
class Clip:
    """A moving scene. Later things are drawn over earlier ones."""

    scene: str
    things: tuple[Thing, ...]
    tracks: tuple[Track, ...]
    phase: tuple[float, ...]
    caption: str
    height: int = SIZE
    width: int = SIZE
    scale: float = 1.0  # pixels to one pixel of the world as it was laid out, at SIZE

    def __len__(self) -> int:
        return len(self.phase)

    def frames(self) -> np.ndarray:
        """(f, height, width, 3) uint8 RGB."""
        return np.stack([self._draw(i) for i in range(len(self))])

    def masks(self, thing: int) -> np.ndarray:
        """(f, height, width) float 0..1: the visible part of one thing, soft at its edge."""
        out = []
        for i in range(len(self)):
            mask = self._alpha(thing, i)[0]
            for above in range(thing + 1, len(self.things)):
                mask = mask * (1 - self._alpha(above, i)[0])
            out.append(mask)
        return np.stack(out)

    def centres(self, thing: int) -> np.ndarray:
        """(f, 2) centre of the visible part in pixels (x, y): the true trajectory."""
        return np.stack([centroid(mask) for mask in self.masks(thing)])

    def swap(self, index: int, thing: Thing) -> Clip:
        """The true answer to an edit: another thing on the same trajectory, centre of mass on centre of mass."""
        old, track = self.things[index], self.tracks[index]
        track = _moved_onto(track, centre_of_mass(outline(old.shape)), track, centre_of_mass(outline(thing.shape)))
        return replace(
            self,
            things=self.things[:index] + (thing,) + self.things[index + 1 :],
            tracks=self.tracks[:index] + (track,) + self.tracks[index + 1 :],
            caption=self.caption.replace(old.name, thing.name, 1),
        )

    def posed(self, index: int, factor: float = 1.0, tilt: float = 0.0) -> Clip:
        """The same clip with one thing `factor` times as large and turned by `tilt` radians in every frame, its centre
        of mass where it was."""
        track, centre = self.tracks[index], centre_of_mass(outline(self.things[index].shape))
        other = replace(
            track,
            radius=tuple(factor * radius for radius in track.radius),
            angle=tuple(angle + tilt for angle in track.angle),
        )
        track = _moved_onto(track, centre, other, centre)
        return replace(self, tracks=self.tracks[:index] + (track,) + self.tracks[index + 1 :])

    def without(self, index: int) -> Clip:
        """The same clip with one thing gone."""
        return replace(
            self,
            things=self.things[:index] + self.things[index + 1 :],
            tracks=self.tracks[:index] + self.tracks[index + 1 :],
        )

    def resized(self, factor: float) -> Clip:
        """The same clip drawn larger, in finer pixels."""

        def times(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(factor * value for value in values)

        tracks = (replace(t, x=times(t.x), y=times(t.y), radius=times(t.radius)) for t in self.tracks)
        return replace(
            self,
            tracks=tuple(tracks),
            height=round(factor * self.height),
            width=round(factor * self.width),
            scale=factor * self.scale,
        )

    def _alpha(self, index: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Coverage and rim of one thing in one frame, both (height, width) 0..1."""
        thing, track, s = self.things[index], self.tracks[index], SUPERSAMPLING
        radius, angle = track.radius[frame], track.angle[frame]
        centre = np.array([track.x[frame], track.y[frame]])
        turn = _turn(angle)
        cover, rim = (Image.new("L", (self.width * s, self.height * s)) for _ in range(2))
        for points, fill in ((outline(thing.shape), 255), (HOLES.get(thing.shape), 0)):
            if points is None:
                continue
            corners = [tuple(p) for p in ((points @ turn) * radius + centre) * s]
            ImageDraw.Draw(cover).polygon(corners, fill=fill)
            width = round(max(2.0 * self.scale, 0.09 * radius) * s)
            ImageDraw.Draw(rim).line(corners + corners[:2], fill=255, width=width, joint="curve")
        cover, rim = (np.asarray(m.reduce(s), np.float32) / 255 for m in (cover, rim))
        return cover, np.minimum(cover, rim)

    def _draw(self, frame: int) -> np.ndarray:
        picture = background(self.scene, self.phase[frame], self.height, self.width)
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        for index, (thing, track) in enumerate(zip(self.things, self.tracks, strict=True)):
            cover, rim = self._alpha(index, frame)
            colour = np.broadcast_to(rgb(thing.colour), picture.shape)
            if thing.pattern:
                a, r = track.angle[frame], track.radius[frame]
                dx, dy = (x - track.x[frame]) / r, (y - track.y[frame]) / r
                u, v = np.cos(a) * dx + np.sin(a) * dy, -np.sin(a) * dx + np.cos(a) * dy
                colour = mix(colour, rgb(thing.other_colour), pattern_weight(thing.pattern, u, v, 1 / r))
            picture = mix(picture, mix(colour, colour * RIM, rim), cover)
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _turn(angle: float) -> np.ndarray:
    """Object coordinates, as rows, times this are turned by `angle`."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _moved_onto(old: Track, old_centre: np.ndarray, new: Track, new_centre: np.ndarray) -> Track:
    """`new` moved until its thing's centre of mass, `new_centre` in its own coordinates, is where `old` had its own."""
    moved = [
        r * old_centre @ _turn(a) - s * new_centre @ _turn(b)
        for r, a, s, b in zip(old.radius, old.angle, new.radius, new.angle, strict=True)
    ]
    return replace(
        new,
        x=tuple(float(x + m[0]) for x, m in zip(old.x, moved, strict=True)),
        y=tuple(float(y + m[1]) for y, m in zip(old.y, moved, strict=True)),
    )


def centroid(mask: np.ndarray) -> np.ndarray:
    """(x, y) of the mask's centre of mass in pixels; NaN when the mask is empty."""
    total = mask.sum()
    if total <= 0:
        return np.array([np.nan, np.nan])
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    return np.array([(x * mask).sum() / total, (y * mask).sum() / total])


# -------------------------------------------------------------------------------------------------- drawing from seeds
def random_thing(rng: np.random.Generator, wide: bool = False) -> Thing:
    """A thing from the vocabulary, or (`wide`) one that only the world has: patterned, or a blob, or both."""
    colour, other = rng.choice(list(COLOURS), 2, replace=False)
    if not wide:
        return Thing(str(rng.choice(list(SHAPES))), str(colour))
    blob = rng.random() < 0.6
    shape = f"blob-{rng.integers(1 << 30)}" if blob else str(rng.choice(list(SHAPES)))
    pattern = None if blob and rng.random() < 0.3 else str(rng.choice(PATTERNS))
    return Thing(shape, str(colour), pattern, str(other) if pattern else None)


def free_thing(rng: np.random.Generator) -> Thing:
    """A thing from the whole space of looks: any outline but the held-out ones, any pattern, any colours."""
    family = str(rng.choice(["blob", "vocabulary", *FREE_FAMILIES], p=[0.18, 0.14, 0.17, 0.13, 0.10, 0.28]))
    shape = str(rng.choice(list(SHAPES))) if family == "vocabulary" else f"{family}-{rng.integers(1 << 30)}"
    colour = random_colour(rng)
    if rng.random() < 0.3:
        return Thing(shape, colour)
    pattern = str(rng.choice(PATTERNS)) if rng.random() < 0.25 else random_pattern(rng)
    return Thing(shape, colour, pattern, random_colour(rng, apart_from=colour))


def make_track(
    rng: np.random.Generator,
    frames: int,
    radius: float,
    height: int = SIZE,
    width: int = SIZE,
    speed: float = 1.0,
    growth: float = 0.0,
) -> Track:
    """A smooth path that stays inside the picture: a straight run with a bob, a slight turn, a change of size."""
    t = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    r = radius * (1 + growth * (t - 0.5))
    low, high_x, high_y = 1.1 * r.max(), width - 1.1 * r.max(), height - 1.1 * r.max()
    run = rng.uniform(0.35, 0.6) * width * speed * rng.choice([-1, 1])
    x0 = rng.uniform(low, high_x) if abs(run) >= high_x - low else rng.uniform(low - min(run, 0), high_x - max(run, 0))
    y0 = rng.uniform(max(low, 0.36 * height), high_y) if high_y > 0.36 * height else height / 2
    bob = rng.uniform(0.03, 0.07) * height * np.sin(2 * np.pi * (rng.uniform(0.6, 1.2) * t + rng.uniform()))
    angle = rng.uniform(-0.15, 0.15) + rng.uniform(-0.25, 0.25) * t
    x, y = np.clip(x0 + run * t, low, high_x), np.clip(y0 + bob, low, high_y)
    return Track(*(tuple(float(value) for value in values) for values in (x, y, r, angle)))


def make_clip(
    seed: int,
    frames: int = 8,
    things: tuple[Thing, ...] | None = None,
    scene: str | None = None,
    count: int = 1,
    radius: float | None = None,
    speed: float = 1.0,
    growth: float | None = None,
    height: int = SIZE,
    width: int = SIZE,
) -> Clip:
    """A moving scene from a seed. Whatever is given is kept; the rest is drawn from the seed.

    `radius` is in pixels; `speed` 1 crosses about half the picture; `growth` is the change of size over the clip
    (0.3 = 30 %).
    """
    rng = np.random.default_rng(seed)
    scene = scene or str(rng.choice(list(SCENES)))
    drawn = tuple(random_thing(rng) for _ in range(count))
    things = things or drawn
    tracks = []
    for _ in things:
        size = radius or rng.uniform(0.17, 0.22) * min(height, width) * (0.85 if len(things) > 1 else 1)
        bigger = rng.uniform(-0.2, 0.2) if growth is None else growth
        tracks.append(make_track(rng, frames, size, height, width, speed, bigger))
    phase = rng.uniform(0, 2 * np.pi) + np.arange(frames) * rng.uniform(0.06, 0.14) * rng.choice([-1, 1])
    caption = f"{' and '.join('a ' + thing.name for thing in things)} moving {SCENES[scene].place}"
    return Clip(scene, things, tuple(tracks), tuple(float(p) for p in phase), caption, height, width)


def make_picture(seed: int, kind: str = "one", size: int = SIZE) -> tuple[Clip, str]:
    """One training picture as a one-frame clip of `size` pixels, and its caption.

    Kinds: one, two, wide (a thing beyond the vocabulary), empty; free (one of `free_thing`), beside (such a one and a
    thing from the vocabulary).
    """
    rng = np.random.default_rng(seed)
    scene = str(rng.choice(list(SCENES)))
    place = SCENES[scene].place
    count = {"one": 1, "wide": 1, "free": 1, "two": 2, "beside": 2, "empty": 0}[kind]
    free = 0 if kind == "free" else int(rng.integers(2)) if kind == "beside" else None
    things, tracks = [], []
    for i in range(count):
        thing = free_thing(rng) if i == free else random_thing(rng, wide=kind == "wide")
        while any(thing.shape == other.shape or thing.colour == other.colour for other in things):
            thing = random_thing(rng)
        large = count != 2 and rng.random() < 0.35
        radius = rng.uniform(16, 26) if count == 2 else rng.uniform(17, 44) if large else rng.uniform(17, 28)
        for _ in range(20):
            x, y = rng.uniform(radius, SIZE - radius), rng.uniform(radius + (6 if radius < 32 else 0), SIZE - radius)
            if all(np.hypot(x - t.x[0], y - t.y[0]) > 0.95 * (radius + t.radius[0]) for t in tracks):
                break
        things.append(thing)
        tracks.append(Track((float(x),), (float(y),), (float(radius),), (float(rng.uniform(-0.35, 0.35)),)))
    named = " and ".join(f"a {thing.name}" for thing in things)
    if kind == "empty":
        caption = f"nothing {place}"
    else:
        caption = str(
            rng.choice(
                [
                    f"{named} {place}",
                    f"{named} {place}",
                    f"{named} moving {place}",
                    f"a photo of {named} {place}",
                    f"a photo of {named}",
                ]
            )
        )
    clip = Clip(scene, tuple(things), tuple(tracks), (float(rng.uniform(0, 2 * np.pi)),), caption)
    return clip if size == SIZE else clip.resized(size / SIZE), caption


def make_reference(thing: Thing, seed: int) -> Clip:
    """The "photo": one thing large in the middle of another scene, as a one-frame clip."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(36, 42)
    x, y, angle = SIZE / 2 + rng.uniform(-4, 4), SIZE / 2 + rng.uniform(-2, 6), rng.uniform(-0.12, 0.12)
    scene = str(rng.choice(list(SCENES)))
    return Clip(
        scene,
        (thing,),
        (Track((float(x),), (float(y),), (float(radius),), (float(angle),)),),
        (float(rng.uniform(0, 2 * np.pi)),),
        f"a photo of a {thing.name}",
    )
