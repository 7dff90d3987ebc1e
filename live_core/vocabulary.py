"""CLIP's tokenizer from a folder: its vocabulary and merges are read, and how it splits a text stands here, so that no
file chooses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .configs import FLAG, Kind, either, list_of, number, one_of, read_json, take
from .files import reading
from .notes import note

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

START, END = "<|startoftext|>", "<|endoftext|>"
SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # of CLIP's own
REMEDY = "fetch the tokenizer's files again, those of Stable Diffusion or of the demo model"

_TOKEN = Kind(
    "a token", lambda value: isinstance(value, str) or isinstance(value, dict) and isinstance(value.get("content"), str)
)
# What tokenizer_config.json says that counts. Only CLIP's tokenizer is known here, which does not tell cases apart.
RULES = {
    "tokenizer_class": one_of("CLIPTokenizer", "CLIPTokenizerFast", "TokenizersBackend", "PreTrainedTokenizerFast"),
    "do_lower_case": one_of(True),
    "model_max_length": number(3),
    "pad_token": _TOKEN,
    "bos_token": _TOKEN,
    "eos_token": _TOKEN,
    "unk_token": _TOKEN,
}
NOTES = frozenset(
    """
    add_prefix_space added_tokens_decoder additional_special_tokens backend clean_up_tokenization_spaces errors
    extra_special_tokens is_local local_files_only max_length model_input_names name_or_path padding padding_side
    processor_class special_tokens_map_file split_special_tokens stride truncation truncation_side
    """.split()
)


def load_tokenizer(
    folder: Path | str, longest: int, padding: str | None = None, owner: str | None = None
) -> PreTrainedTokenizerFast:
    """CLIP's tokenizer in `folder`: vocab.json and merges.txt, or tokenizer.json.

    Prompts are of `longest` tokens, or as many as the folder says if that is less. `padding`: the token that fills them
    up, None for the folder's. `owner`: whose tokenizer messages say it is, None for the folder above. LiveError for
    files that are missing or damaged, or that ask for another tokenizer than CLIP's.
    """
    from transformers import PreTrainedTokenizerFast

    folder = Path(folder)
    what = f"tokenizer of {owner or folder.parent.name!r:.100}"
    vocabulary, merges = _vocabulary(folder, what)
    file, older = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    config = read_json(file, what, REMEDY) if file.is_file() else {}
    told = take(config, RULES, NOTES, f"{what}: {file.name}")
    if "added_tokens_decoder" not in config and older.is_file():  # as older versions of transformers wrote it
        notes = ("bos_token", "eos_token", "unk_token", *NOTES)
        told |= take(read_json(older, what, REMEDY), {"pad_token": _TOKEN}, notes, f"{what}: {older.name}")
    _note_added(folder, config, vocabulary, what)
    pad = padding or _content(told.get("pad_token", END))
    with reading(what, REMEDY):
        for token in (START, END, pad):
            if token not in vocabulary:
                raise ValueError(f"its vocabulary has no {token!r:.60}")
        if {_content(told.get("bos_token", START)), _content(told.get("eos_token", END))} != {START, END}:
            raise ValueError("prompts begin and end with other tokens than CLIP's")
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_clip_tokenizer(vocabulary, merges),
            bos_token=START,
            eos_token=END,
            unk_token=END,
            model_input_names=["input_ids", "attention_mask"],
        )
        # Not in the constructor, which would read the sign "!" of a prompt as Stable Diffusion 2.x's padding.
        tokenizer.pad_token = pad
    tokenizer.model_max_length = int(min(told.get("model_max_length", longest), longest))
    return tokenizer


def _note_added(folder: Path, config: dict, vocabulary: dict[str, int], what: str) -> None:
    """Say so where tokens were added to CLIP's, as some trainings do: prompts are read without them."""
    decoder = config.get("added_tokens_decoder")
    added = [
        token["content"]
        for token in (decoder.values() if isinstance(decoder, dict) else ())
        if _TOKEN.fits(token) and isinstance(token, dict)
    ]
    if (folder / "added_tokens.json").is_file():
        added += read_json(folder / "added_tokens.json", what, REMEDY)
    strange = [token for token in added if token not in vocabulary]
    if strange:
        note(
            f"{what}: the token {strange[0]!r:.60} was added to CLIP's, and prompts are read without it; bind a photo"
            " to a placeholder, or use an embedding"
        )


def _content(token: str | dict) -> str:
    return token if isinstance(token, str) else token["content"]


def _vocabulary(folder: Path, what: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and the pairs that merge, the first first."""
    merges: list[list[str]]
    if (folder / "vocab.json").is_file():
        vocabulary = read_json(folder / "vocab.json", what, REMEDY)
        with reading(what, REMEDY):
            lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
            merges = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    else:
        model = take(
            read_json(folder / "tokenizer.json", what, REMEDY),
            {"model": Kind("a model", lambda value: isinstance(value, dict))},
            "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder".split(),
            f"{what}: tokenizer.json",
        ).get("model", {})
        parts = {
            "type": one_of("BPE"),
            "vocab": Kind("a vocabulary", lambda value: isinstance(value, dict)),
            "end_of_word_suffix": one_of("</w>"),
            "merges": list_of(
                either(
                    Kind("a pair", lambda value: isinstance(value, str)),
                    list_of(Kind("a token", lambda value: isinstance(value, str)), 2),
                ),
                2**20,
            ),
            "byte_fallback": FLAG,
            "fuse_unk": FLAG,
            "ignore_merges": FLAG,
        }
        model = take(model, parts, ("dropout", "unk_token", "continuing_subword_prefix"), f"{what}: tokenizer.json")
        vocabulary = model.get("vocab", {})
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges", [])]
    with reading(what, REMEDY):
        ids = [number for number in vocabulary.values() if isinstance(number, int) and not isinstance(number, bool)]
        if not ids or sorted(ids) != list(range(len(vocabulary))):
            raise ValueError("its tokens are not numbered from 0 on")
        for merge in merges:
            if len(merge) != 2 or not {*merge, "".join(merge)} <= vocabulary.keys():
                raise ValueError(f"it merges {' '.join(merge)!r:.60}, which is no pair of its tokens")
    return vocabulary, [(left, right) for left, right in merges]


def _clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            dropout=None,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer
