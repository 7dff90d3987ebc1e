"""Parity with InstructPix2Pix: guidance along two scales, which LIVE's latent prompt shares."""

from golden import case, close, needed

from live_core.streams import guided

pytestmark = needed


def test_guidance_by_picture_and_by_words():
    record, data = case("ip2p_guidance")
    for run in record["options"]["runs"]:
        chain = [("null_zero", 1.0), ("null_image", run["image_cfg_scale"]), ("text_image", run["text_cfg_scale"])]
        close(
            guided({name: data[f"{run['id']}/in/eps_{name}"] for name, _ in chain}, chain),
            data[f"{run['id']}/out/guided"],
            record,
        )
