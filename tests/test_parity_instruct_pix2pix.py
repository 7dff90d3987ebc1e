"""Parity with InstructPix2Pix: guidance along two scales, which LIVE's latent prompt shares."""
import torch
from golden import case, close, needed
from live_core.editing import guided

pytestmark = needed


def test_guidance_by_picture_and_by_words():
    record, data = case("ip2p_guidance")
    for run in record["options"]["runs"]:
        told = [data[f"{run['id']}/in/eps_{name}"] for name in ("null_zero", "null_image", "text_image")]
        chain = [("neither", 1.0), ("picture", run["image_cfg_scale"]), ("words", run["text_cfg_scale"])]
        close(guided(torch.stack(told), {name: i for i, (name, _) in enumerate(chain)}, chain), data[f"{run['id']}/out/guided"], record)
