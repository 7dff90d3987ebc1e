"""The same edits, pasted otherwise: what the composite's settings do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .variants import Variant


def pasted_otherwise(plain: Variant, shipped: Variant) -> tuple[Variant, ...]:
    """`plain` LIVE and what is `shipped`, each with one setting of its composite changed."""
    return (
        replace(
            plain,
            name="plain-composite",
            edge_radius=0,
            dilation=1,
            blur=1.5,
            claim="the composite of the first release: local blend's mask, grown by 1 and blurred by 1.5 pixels",
        ),
        replace(
            plain,
            name="edges-0",
            edge_radius=0,
            claim="the composite's mask not brought to the edges of what changed",
        ),
        replace(
            plain,
            name="edges-16",
            edge_radius=16,
            claim="the composite's mask brought to edges that are farther away",
        ),
        replace(
            plain,
            name="give-back",
            gives_back=True,
            claim="what the edit changed by no more than the autoencoder errs is the clip's, within the mask too",
        ),
        replace(
            plain,
            name="give-back-alone",
            gives_back=True,
            edge_radius=0,
            dilation=512,
            claim="the same without a mask",
        ),
        replace(plain, name="no-composite", pasted=False, claim="the edit as it was decoded"),
        replace(plain, name="dilation-0", dilation=0, claim="the composite's mask not grown"),
        replace(plain, name="dilation-3", dilation=3, claim="the composite's mask grown by 3 pixels"),
        replace(plain, name="blur-0", blur=0.0, claim="Gaussian blur of the composite's edge"),
        replace(plain, name="blur-4", blur=4.0, claim="Gaussian blur of the composite's edge"),
        replace(shipped, name="steadied", cut_out=False, claim="what ships, steadied where it is cut out"),
        replace(shipped, name="as-large", resize=0.0, claim="what ships, cut out as large as it was edited"),
        replace(
            shipped,
            name="not-steadied",
            steady_reach=0.0,
            cut_out=False,
            claim="what ships, frames not agreed in pixels",
        ),
    )
