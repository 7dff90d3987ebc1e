"""Parity with InstructPix2Pix: what its network is given, and guidance along two scales, which LIVE's latent prompt
shares."""

import torch
from golden import case, close, needed

from live_core.instruct import instruct_streams
from live_core.instruct_settings import INSTRUCT_PIX2PIX
from live_core.streams import guided, predict

pytestmark = needed
NAMES = {"both": "text_image", "picture": "null_image", "neither": "null_zero"}  # in the reference's order of its batch


def test_conditioning_and_guidance_by_picture_and_by_words():
    """The whole of a step but for the network, in whose place the reference has three recorded predictions."""
    record, data = case("ip2p_guidance")
    assert record["options"]["batch_order"] == ["text + image", "null text + image", "null text + zero image"]
    for run in record["options"]["runs"]:
        of = {name.removeprefix(f"{run['id']}/"): tensor for name, tensor in data.items()}
        method = INSTRUCT_PIX2PIX
        assert (method.guidance_scale, method.image_guidance_scale) == (run["text_cfg_scale"], run["image_cfg_scale"])
        streams, chain = instruct_streams(of["in/text"][0], of["in/null_text"][0], of["in/image_latent"], method)
        names, given = [stream.name for stream in streams], {}

        def network(x, t, text, latent_prompts, plan, names=names, given=given, of=of):
            given |= {name: (x[i, 0], text[i]) for i, name in enumerate(names)}
            return torch.stack([of[f"in/eps_{NAMES[name]}"] for name in names])

        noise = predict(network, streams, {"edit": of["in/z"]}, 0)
        latents, texts = (torch.stack(parts) for parts in zip(*(given[name] for name in NAMES), strict=True))
        assert torch.equal(latents[:, :4], of["in/z"].expand(3, -1, -1, -1))
        close(latents[:, 4:], of["out/model_batch_image"], record)
        close(texts, of["out/model_batch_text"], record)
        close(guided(noise, chain), of["out/guided"], record)
