"""Writes known.json: what the fixtures contain, computed with pyarrow, krippendorff 0.8.1 and
plain counting.

    python known.py
"""
import itertools
import json
import math
import unicodedata

import krippendorff
import pyarrow.parquet as pq

HALF = 0.5


def normal(prompt):
    return unicodedata.normalize("NFC", " ".join(prompt.split()))


def agreement(items, categories):
    """items: {item: [category, …]}; each judgement is another rater's."""
    several = [v for v in items.values() if len(v) > 1]
    used = {c for v in several for c in v}
    if len(used) < 2:
        return None
    counts = [[v.count(c) for c in range(categories)] for v in several]
    pairs = [a == b for v in several for a, b in itertools.combinations(v, 2)]
    equal = sum(pairs) / len(pairs)
    return {"items": len(several), "alpha": krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"), "equal": equal,
            "flips": (1 - math.sqrt(max(0, 2 * equal - 1))) / 2 if categories == 2 else None}


def of_labels(labels):
    items = {}
    for prompt, image, label in labels:
        items.setdefault((normal(prompt), image), [])
        if label >= 0:
            items[normal(prompt), image].append(label)
    given = [x for _, _, x in labels if x >= 0]
    return {"prompts": len({p for p, _ in items}), "images": len(items), "raters": 0, "labels": len(labels), "good": sum(given) / len(given), "skips": len(labels) - len(given),
            "repeats": 0, "agreement": agreement(items, 2)}


def of_pairs(pairs):
    """pairs: (prompt, a, b, rater, value of a, votes or None)"""
    items, seen, votes, ties, repeats, images = {}, set(), 0, 0, 0, set()
    for prompt, a, b, rater, value, counts in pairs:
        prompt = normal(prompt)
        images |= {(prompt, a), (prompt, b)}
        ties += value == HALF
        if a > b:
            a, b, value, counts = b, a, 1 - value, counts and counts[::-1]
        item = items.setdefault((prompt, a, b), [])
        if counts:
            item += [0] * counts[0] + [1] * counts[1]
            votes += sum(counts)
            continue
        votes += 1
        if rater and (prompt, a, b, rater) in seen:
            repeats += 1
            continue
        seen.add((prompt, a, b, rater))
        item.append({1: 0, 0: 1, HALF: 2}[value])
    return {"prompts": len({normal(p[0]) for p in pairs}), "images": len(images), "raters": len({p[3] for p in pairs if p[3]}), "pairs": len(pairs), "votes": votes,
            "ties": ties / len(pairs), "repeats": repeats, "agreement": agreement(items, 3 if any(2 in v for v in items.values()) else 2)}


def ranked(prompt, images, ranks, rater=""):
    for (a, x), (b, y) in itertools.combinations(zip(images, ranks), 2):
        yield prompt, a, b, rater, HALF if x == y else float(x < y), None


def load(name):
    return json.load(open(name))


def of_rows(rows):
    groups = {}
    for r in rows:
        groups.setdefault(r["prompt_id"], []).append(r)
    return [p for g in groups.values() for p in ranked(g[0]["prompt"], [r["image_path"] for r in g], [r["rank"] for r in g])]


def votes(r):
    n = r["votes_image1"], r["votes_image2"]
    return r["prompt"], r["image1"]["path"], r["image2"]["path"], "", HALF if n[0] == n[1] else float(n[0] > n[1]), n


picked = [(r["caption"], r["image_0_uid"], r["image_1_uid"], str(r["user_id"]), r["label_0"], None) for r in pq.read_table("pick-a-pic.parquet").to_pylist() if r["has_label"]]
known = {
    "tia2.json": of_labels([(v["caption"], v["image"], x) for v in load("tia2.json").values() for x in v["human_labels"]]),
    "hpdv2-train.json": of_pairs([(r["prompt"], *r["file_path"], r["user_hash"], r["human_preference"][0], None) for r in load("hpdv2-train.json")]),
    "hpdv2-test.json": of_pairs([p for r in load("hpdv2-test.json") for one in r.get("raw_annotations") or [{"rank": r["rank"], "user_hash": ""}]
                                 for p in ranked(r["prompt"], r["image_path"], one["rank"], one["user_hash"])]),
    "hpdv3.json": of_pairs([(r["prompt"], r["path1"], r["path2"], "", 1.0, r["choice_dist"]) for r in load("hpdv3.json")]),
    "pick-a-pic.parquet": of_pairs(picked),
    "pick-a-pic-no-images.parquet": of_pairs(picked),
    "rapidata.parquet": of_pairs([votes(r) for r in pq.read_table("rapidata.parquet").to_pylist()]),
    "imagereward.json": of_pairs([p for r in load("imagereward.json") for p in ranked(r["prompt"], r["generations"], r["ranking"])]),
    "imagereward-rows.json": of_pairs(of_rows(load("imagereward-rows.json"))),
    "imagereward-rows.parquet": of_pairs(of_rows(pq.read_table("imagereward-rows.parquet").to_pylist())),
}
with open("known.json", "w") as f:
    json.dump(known, f, indent=1)
    f.write("\n")
