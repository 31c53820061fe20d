"""Writes odd.json: ids that transformers' CLIPTokenizer gives for odd prompts, with the
tokenizers of the reference set and with changed files.

    python odd.py ../../testdata/reference odd.json      (transformers 5.23.0)
"""
import json, os, pathlib, random, shutil, sys, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import logging
from transformers import CLIPTokenizer

logging.disable(logging.WARNING)
reference, out = pathlib.Path(sys.argv[1]), sys.argv[2]


def token(content, normalized):
    return dict(content=content, lstrip=False, normalized=normalized, rstrip=False, single_word=False)


SD, CLIP = "sd-tiny/tokenizer", "clip-tiny"
# folder, changes of tokenizer_config.json and special_tokens_map.json (null: no such file)
CASES = [
    (SD, {}, {}), (CLIP, {}, {}), (SD, None, None), (SD, {}, None),
    (SD, {}, dict(pad_token="and</w>")), (SD, {}, dict(pad_token=token("A", True))), (SD, {}, dict(unk_token="th")),
    (SD, dict(pad_token="!", added_tokens_decoder={
        "0": token("!", False), "2012": token("<|startoftext|>", True), "2013": token("<|endoftext|>", True)}), {}),
    (SD, dict(added_tokens_decoder={"2012": token("<|startoftext|>", True), "2013": token("<|endoftext|>", True)}), {}),
]
PARTS = (
    "the a photo café naïve 北京 天空 don't it's 12 3.5 <|endoftext|> <|ENDOFTEXT|> <|startoftext|> <|StartOfText|> ! !! ... "
    "İ Σ ΟΔΟΣ 👍🏽 👩‍🚀 e\u0301 a\u0323\u0301 \u1100\u1161\u11a8 \u0344 \u212b \ufb01 \x00 \x1c \x85 \u2028 \u3000 \u200b "
    "\u180e ½ ² ٣ \u0e33 मस् A th AND And</w> </w> <| |> '' 'S 'RE 'l 'LL \u1fed \u0f73 \u0958 \U0001d15e \u09c7\u09be "
    "\uac00\u11a8 \u0300\u0315\u0300 \ud7a3"
).split(" ")
random.seed(1)
texts = ["a" + "\u0301" * 40, "a" + "\u0310\u0301" * 20, "e" + "\u0301\u0323" * 20 + "x", "\u0301" * 35, "a" + "\u0315" * 31 + "\u0300", "ab" * 200]
texts += PARTS + ["".join(random.choice(PARTS) + random.choice(["", "", " ", "  \t"]) for _ in range(random.randint(2, 9))) for _ in range(60)]

result = []
for folder, config, special in CASES:
    with tempfile.TemporaryDirectory() as d:
        for name, changes in (("tokenizer_config.json", config), ("special_tokens_map.json", special)):
            if changes is not None:
                pathlib.Path(d, name).write_text(json.dumps(json.loads((reference / folder / name).read_text()) | changes))
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(reference / folder / name, d)
        ids = CLIPTokenizer.from_pretrained(d)(texts).input_ids
    result.append(dict(folder=folder, tokenizer_config=config, special_tokens_map=special, ids=ids))
with open(out, "w", encoding="utf-8") as f:
    cases = ",\n  ".join(json.dumps(c) for c in result)
    f.write('{"prompts": ' + json.dumps(texts) + ',\n "cases": [\n  ' + cases + "\n ]}\n")
