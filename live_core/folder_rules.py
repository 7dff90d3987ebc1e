"""By these rules the configurations of a model's folder say what its networks are. What diffusers' and transformers'
own classes can do besides, LIVE does not."""

from __future__ import annotations

from .configs import FLAG, Kind, either, list_of, number, one_of, whole

WIDTH = whole(1, 16384)
_LAYERS = {
    "block_out_channels": list_of(WIDTH, 8),
    "layers_per_block": whole(1, 16),
    "act_fn": one_of("silu", "swish"),
    "norm_num_groups": whole(1, 1024),
    "sample_size": either(whole(1, 16384), list_of(whole(1, 16384), 2)),
}
UNET = {
    **_LAYERS,
    "_class_name": one_of("UNet2DConditionModel"),
    "in_channels": WIDTH,
    "out_channels": one_of(4),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": either(WIDTH, list_of(WIDTH, 8)),
    "down_block_types": list_of(one_of("CrossAttnDownBlock2D", "DownBlock2D"), 8),
    "up_block_types": list_of(one_of("CrossAttnUpBlock2D", "UpBlock2D"), 8),
    "mid_block_type": one_of("UNetMidBlock2DCrossAttn"),
    "transformer_layers_per_block": either(whole(1, 16), list_of(whole(1, 16), 8)),
    "use_linear_projection": FLAG,
    "upcast_attention": FLAG,
    "flip_sin_to_cos": FLAG,
    "freq_shift": one_of(0, 1),
    "norm_eps": number(1e-12, 1),
    "mid_block_scale_factor": number(1e-3, 1e3),
    "downsample_padding": one_of(1),
}
AUTOENCODER = {
    **_LAYERS,
    "_class_name": one_of("AutoencoderKL"),
    "in_channels": one_of(3),
    "out_channels": one_of(3),
    "latent_channels": one_of(4),
    "down_block_types": list_of(one_of("DownEncoderBlock2D"), 8),
    "up_block_types": list_of(one_of("UpDecoderBlock2D"), 8),
    "scaling_factor": number(1e-6, 1e6),
    "force_upcast": FLAG,
    "use_quant_conv": FLAG,
    "use_post_quant_conv": FLAG,
    "mid_block_add_attention": FLAG,
}
_TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": whole(1, 65536),
    "num_hidden_layers": whole(1, 128),
    "num_attention_heads": whole(1, 1024),
    "hidden_act": one_of("quick_gelu", "gelu"),
    "layer_norm_eps": number(1e-12, 1),
    "projection_dim": WIDTH,
}
_TOKEN = whole(0, 2**20)
TEXT = {
    **_TOWER,
    "model_type": one_of("clip_text_model"),
    "vocab_size": whole(3, 2**20),
    "max_position_embeddings": whole(3, 1024),
    "bos_token_id": _TOKEN,
    "eos_token_id": _TOKEN,
    "pad_token_id": _TOKEN,
}
VISION = {
    **_TOWER,
    "model_type": one_of("clip_vision_model"),
    "image_size": whole(1, 4096),
    "patch_size": whole(1, 1024),
    "num_channels": one_of(3),
}
_TOWERS = Kind("a tower's own names with values", lambda value: isinstance(value, dict))
CLIP = {
    "model_type": one_of("clip"),
    "text_config": _TOWERS,
    "text_config_dict": _TOWERS,
    "vision_config": _TOWERS,
    "vision_config_dict": _TOWERS,
    "projection_dim": WIDTH,
}
# Keys that say nothing of what a network computes here: where a file comes from, how it was trained, and what
# transformers wrote into every configuration, whatever the model: settings of text generation and of labels.
DIFFUSERS_NOTES = frozenset(
    """
    SparseCausalAttention_index _diffusers_version _name_or_path _use_default_values decay dropout inv_gamma
    least_sc_channel min_decay optimization_step power update_after_step use_ema_warmup
    """.split()
)
TRANSFORMERS_NOTES = frozenset(
    """
    _commit_hash _name_or_path add_cross_attention architectures attention_dropout bad_words_ids begin_suppress_tokens
    chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dropout dtype
    early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id id2label initializer_factor initializer_range is_decoder is_encoder_decoder label2id
    length_penalty logit_scale_init_value max_length min_length name_or_path no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_attentions output_hidden_states output_scores prefix problem_type pruned_heads
    remove_invalid_values repetition_penalty return_dict return_dict_in_generate sep_token_id suppress_tokens
    task_specific_params temperature tf_legacy_loss tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p
    torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache
    """.split()
)
