"""Train the demo model: a Stable-Diffusion-shaped model of the sprite world, small enough for one CPU core.

    python -m demo.train diffusion --work ~/demo-training-192 --base demo/model_192 --steps 10000  # 2 hours, one core
    python -m demo.train decoder   --work ~/demo-training-192 --base demo/model_192 --steps 16000  # beside it

Both go on from the weights in demo/model_192, draw 20,000 pictures of 192x192 and encode them (once: ten minutes on two
cores), and write there as they go: `diffusion` the U-Net, the text encoder and the encoder of looks every five minutes,
`decoder` the autoencoder whenever held-out things come out better than before; its encoder, and so all latents, stay as
they were. `autoencoder` trains encoder and decoder both, after which a U-Net must be trained anew.

    python -m demo.train instruct --work ~/demo-training-instruct --size 128 --to WORK/model --steps 16000

trains the model that follows instructions on pairs of pictures, before and after, from the weights in `--base`, whose
autoencoder it keeps.

Every stage is seeded, logs its losses to `<work>/<stage>.log`, saves its whole state every five minutes and goes on
from there when started again; SIGTERM makes it save and end. The learning rate is flat and falls to zero over the last
half of the run, so a run can be given more steps later by raising that number. Uses a GPU when torch sees one: there
a larger `--batch` costs little, and `--minutes` ends a run by the clock.

    python -m demo.train diffusion --work WORK --to WORK/model --size 128 --pictures 100000 --batch 512 --minutes 6 \\
        --steps 1000000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .data import load_or_draw
from .training.autoencoder import train_autoencoder
from .training.decoder import train_decoder
from .training.diffusion import train_diffusion
from .training.instruct import load_or_draw_pairs, train_instruct

MODEL = Path(__file__).parent / "model"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=("diffusion", "decoder", "autoencoder", "instruct"))
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and checkpoints")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps in all, earlier runs counted in")
    parser.add_argument("--size", type=int, default=192, help="side of the pictures")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--batch", type=int, help="pictures or pairs to a step; by default what suits one CPU core")
    parser.add_argument("--minutes", type=float, help="end the run after so long, if that comes before --steps")
    parser.add_argument("--base", type=Path, default=MODEL, help="model folder to start from")
    parser.add_argument("--to", type=Path, default=MODEL.with_name("model_192"), help="model folder to write")
    args = parser.parse_args()
    options = {"minutes": args.minutes} | ({"batch": args.batch} if args.batch else {})
    if args.stage == "instruct":
        pairs = load_or_draw_pairs(args.work, args.pictures, args.size)
        return train_instruct(args.work, args.base, args.to, args.steps, pairs, **options)
    pictures = load_or_draw(args.work, args.pictures, args.size)
    if args.stage == "decoder":
        train_decoder(args.work, args.base, args.to, args.steps, pictures)
    else:
        train = {"autoencoder": train_autoencoder, "diffusion": train_diffusion}[args.stage]
        train(args.work, args.base, args.to, args.steps, pictures, **options)


if __name__ == "__main__":
    main()
