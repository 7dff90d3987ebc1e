"""Test-time editing adaptation (VIA, section 4.1): the model learns one edit of one frame, so that all frames become
what that frame became.

The paper gives neither steps nor learning rate, nor what is learned; ours were chosen on the demo model
(bench/APPENDIX.md). Its root pair was picked by hand: `root_pairs` scores several.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from .adapt_settings import AdaptSettings
from .attention import AttentionPlan
from .augmentation import Pairs
from .autoencoder import posterior
from .bases import INSTRUCT, LATENT_CHANNELS
from .diffusion import Callback
from .estimates import Work
from .frames import ALONE
from .instruct import check_instruction
from .instruct_settings import Instruction
from .learning import Losses, key_of, learn
from .memory import one_run
from .notes import note
from .objectives import LearnedWeights, Learner, Loss
from .pretrained import LiveModel
from .streams import Stream, predict
from .transfers import sent
from .tunings import Tuning
from .video_unet import EDIT

# Of the pairs: the picture left out, both, the instruction (InstructPix2Pix, section 3.2.1): without, the three
# predictions that guidance compares would drift apart.
DROPPED = {"picture": 0.05, "both": 0.05, "text": 0.05}


DEFAULTS = AdaptSettings()


@one_run()
def adapt(
    model: LiveModel,
    before: torch.Tensor,
    after: torch.Tensor,
    instruction: Instruction,
    settings: AdaptSettings = DEFAULTS,
    callback: Callback = lambda step, total, latents: None,
    unfinished: Path | None = None,
    losses: Losses | None = None,
) -> Tuning:
    """Learn that `instruction` turns the picture `before` into `after`, (H, W, 3), 0..1.

    `callback(step, total, latents)` runs after every step with its pairs' latents, and may raise to stop; the model is
    then as it was before. In the folder `unfinished`, if given, a stopped one leaves what it needs to go on to the same
    bits (`tuning.tune`). `losses`: as there, all in the first list. At 0 steps nothing is learned. LiveError for
    another base than InstructPix2Pix.
    """
    model.check_base(INSTRUCT, "Adapt to Edit")
    check_instruction(model, instruction)
    if model.tuning is not None:
        note(
            "model: it is adapted already, and Adapt to Edit starts again from its base; connect Load LIVE Model, or"
            " use the adapted model as it is"
        )
    with torch.inference_mode(False), torch.enable_grad():
        learned = LearnedWeights(model, model.unet.trainable(EDIT), settings.learning_rate)
        objective = EditObjective(model, Pairs(before.clone(), after.clone()), instruction.text, settings, learned)
        facts = [EDIT, instruction.text, asdict(settings)]
        file = unfinished and unfinished / f"{key_of(model, facts, (before, after, objective.text))}.safetensors"
        shown = [torch.zeros(settings.pairs, 1)]
        losses = learn(model, learned, [objective], [0] * settings.steps, settings.seed, shown, callback, file, losses)
        return Tuning(
            tensors=learned.overlay() if settings.steps else {},
            latent_prompt=None,
            concepts=(),
            prompt=instruction.text,
            base=model.fingerprint,
            settings=asdict(settings),
            losses=(tuple(losses[0]), ()),
            base_name=model.name,
            learns=EDIT,
        )


class EditObjective:
    """InstructPix2Pix's own (eq. 1 of VIA): noise prediction on the edit, sampled and scaled latents, beside the
    picture's, which are the mean and not scaled.

    What is descended is the mean of the logarithms of the pairs' errors, not of these: colour and shape are decided
    where most is noise, and there the error, and so its gradient, is small (as for a photo, `TuneSettings.photo_loss`).
    On the demo model all frames take the chosen colour after a quarter of the steps that the errors' mean needs
    (bench/APPENDIX.md).
    """

    def __init__(
        self, model: LiveModel, pairs: Pairs, instruction: str, settings: AdaptSettings, learned: LearnedWeights
    ):
        self.model, self.pairs, self.count, self.learned = model, pairs, settings.pairs, learned
        with torch.no_grad():
            self.text, self.without = model.encode_text(instruction), model.encode_text("")

    @property
    def work(self) -> Work:
        side = self.model.pixels_per_latent
        height, width = (pixels // side for pixels in self.pairs.size)
        pairs = torch.empty(1, self.count, LATENT_CHANNELS, height, width, device="meta")
        return self.model.unet.work(pairs, False, AttentionPlan(ALONE))

    def learners(self, _turn: int) -> list[Learner]:
        learned = self.learned
        return [Learner(learned.optimizer, list(learned.parameters.values()), list(learned.weights.values()), log=True)]

    def shown(self, _turn: int) -> int:
        return 0

    def loss(self, _turn: int, generator: torch.Generator) -> Loss:
        model, schedule = self.model, self.model.schedule
        before, after = self.pairs.draw(self.count, generator)
        (pictures, _), (mean, deviation) = (posterior(model.vae, each) for each in (before, after))
        latents = (mean + deviation * _randn(mean, generator)) * model.vae.config.scaling_factor
        noise = _randn(latents, generator)
        times = torch.randint(schedule.length, (self.count,), generator=generator).tolist()
        dropped = torch.rand(self.count, generator=generator).tolist()
        rows = range(self.count)
        noisy = {str(i): schedule.add_noise(latents[i : i + 1], noise[i : i + 1], times[i]) for i in rows}
        streams = [self._stream(str(i), pictures[i : i + 1], dropped[i]) for i in rows]
        told = predict(model.unet, streams, noisy, sent(torch.tensor(times), latents), plan=AttentionPlan(ALONE))
        predicted, clean = torch.cat([told[str(i)] for i in rows]), []
        target = torch.cat([schedule.target(latents[i : i + 1], noise[i : i + 1], times[i]) for i in rows])
        for i in rows:
            x, t = noisy[str(i)], times[i]
            clean.append(schedule.clean(x, schedule.noise(x, predicted[i : i + 1].detach(), t), t))
        errors = (predicted - target).square().mean((1, 2, 3))
        return errors.clamp_min(torch.finfo(errors.dtype).tiny).log().mean().exp(), torch.cat(clean)

    def _stream(self, name: str, picture: torch.Tensor, u: float) -> Stream:
        """One row of the batch; `u`, 0..1, says what of its conditions is left out."""
        no_picture = u < DROPPED["picture"] + DROPPED["both"]
        no_text = DROPPED["picture"] <= u < sum(DROPPED.values())
        text = self.without if no_text else self.text
        return Stream(name, name, text, picture=torch.zeros_like(picture) if no_picture else picture)


def _randn(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return sent(torch.randn(like.shape, generator=generator), like)
