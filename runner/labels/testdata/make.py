"""Makes the fixtures: tia2.json and imagereward.json are cut from the published files, the others
are made up with the columns of the published ones (runner/labels has the sources).

    python make.py human_labels_composition.json ImageReward/data/test.json

Both repositories (kykim0/TextNorm, THUDM/ImageReward) are under the Apache License 2.0.
"""
import datetime
import json
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

composition, ranking = sys.argv[1:]
choose = random.Random(1)


def dump(name, value):
    with open(name, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


# Published labels: 40 images, among them some with skips.
full = json.load(open(composition))
skipped = [k for k, v in full.items() if -1 in v["human_labels"]]
keep = set(choose.sample(skipped, 10) + choose.sample(sorted(full), 30))
dump("tia2.json", {k: v for k, v in full.items() if k in keep})
dump("imagereward.json", json.load(open(ranking))[:10])

prompts = ["a red cube on a blue ball", "two cats", "a photo of a café", "a train  in the rain"]


def models():
    return choose.sample(["flux", "sdxl", "kolors"], 2)


# HPDv2: pairs by one rater each, and ranks by several.
train = []
for i in range(30):
    first = choose.randint(0, 1)
    train.append({"human_preference": [first, 1 - first], "prompt": choose.choice(prompts), "file_path": [f"{i // 3}_a.jpg", f"{i // 3}_b.jpg"], "user_hash": f"u{i % 5}"})
dump("hpdv2-train.json", train)
test = []
for i, prompt in enumerate(prompts):
    images = [f"{i:05}_{j}.jpg" for j in range(4)]
    raters = [{"rank": choose.sample(range(4), 4), "user_hash": f"u{k}"} for k in range(3)]
    raters.append({"rank": raters[0]["rank"], "user_hash": "u9"})
    test.append({"prompt": prompt, "image_path": images, "rank": raters[0]["rank"], "raw_annotations": raters})
test.append({"prompt": "a clock", "image_path": ["00009_0.jpg", "00009_1.jpg"], "rank": [1, 0]})
dump("hpdv2-test.json", test)

# HPDv3: the first image is the preferred one; sets that it includes have no votes.
hpdv3 = []
for i in range(20):
    a, b = models()
    votes = sorted((choose.randint(0, 9), choose.randint(1, 9)), reverse=True)
    hpdv3.append({"prompt": choose.choice(prompts), "choice_dist": votes if i % 4 else None, "confidence": 0.99 if i % 4 else None,
                  "path1": f"images/{i}.jpg", "path2": f"images/{i}x.jpg", "model1": a, "model2": b})
dump("hpdv3.json", hpdv3)

# Pick-a-Pic v2, with images and without.
rows = []
for i in range(30):
    first = choose.choice([0.0, 0.5, 1.0])
    a, b = models()
    rows.append({"are_different": first != 0.5, "best_image_uid": "", "caption": choose.choice(prompts), "created_at": datetime.datetime(2023, 1, 2, 3, 4, i),
                 "has_label": i % 10 != 0, "image_0_uid": f"uid{i // 3}", "image_0_url": "", "image_1_uid": f"uid{i // 3}x", "image_1_url": "",
                 "jpg_0": b"\xff\xd8" * 1000, "jpg_1": b"\xff\xd8" * 1000, "label_0": first, "label_1": 1 - first, "model_0": a, "model_1": b,
                 "ranking_id": i, "user_id": i % 4, "num_example_per_prompt": 3})
rows[15]["caption"] = rows[16]["caption"] = rows[17]["caption"] = prompts[0]
table = pa.Table.from_pylist(rows)
pq.write_table(table, "pick-a-pic.parquet")
pq.write_table(table.drop_columns(["jpg_0", "jpg_1"]), "pick-a-pic-no-images.parquet")

# Rapidata: votes of people who are not named.
rows = []
for i in range(25):
    a, b = models()
    votes = [choose.randint(0, 8), choose.randint(1, 8)]
    paths = [f"{a}/{i}.jpg", f"{b}/{i}.jpg"]
    detail = {"votes": [{"votedFor": p, "userDetails": {"country": "DE", "language": "de", "userScore": 0.5}} for p, n in zip(paths, votes) for _ in range(n)], "metadata": {}}
    rows.append({"prompt": choose.choice(prompts), "image1": {"bytes": b"\x89PNG" * 500, "path": paths[0]}, "image2": {"bytes": b"\x89PNG" * 500, "path": paths[1]},
                 "votes_image1": votes[0], "votes_image2": votes[1], "model1": a, "model2": b, "detailed_results": json.dumps(detail),
                 "image1_path": paths[0] if i % 2 else None, "image2_path": paths[1]})
pq.write_table(pa.Table.from_pylist(rows), "rapidata.parquet")

# ImageRewardDB: a row for each image.
rows = []
for i, prompt in enumerate(prompts):
    for j in range(4):
        rows.append({"image_path": f"images/train/{i}/{j}.webp", "prompt_id": f"00{i}-0001", "prompt": prompt, "classification": "Animals", "image_amount_in_total": 4,
                     "rank": choose.randint(1, 5), "overall_rating": choose.randint(1, 7), "image_text_alignment_rating": choose.randint(1, 7), "fidelity_rating": choose.randint(1, 7)})
dump("imagereward-rows.json", rows)
pq.write_table(pa.Table.from_pylist(rows), "imagereward-rows.parquet")
