"""Makes boxes.json: random objects and detections with ties, crowds, empty images and images without detections, and
what pycocotools says of them. Needs numpy and pycocotools."""
import contextlib, io, json, sys
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IMAGES, CLASSES = 24, 4  # the last class has no objects


def make(seed, integer):
    r = np.random.default_rng(seed)
    snap = (lambda x: np.round(x)) if integer else (lambda x: np.round(x, 2))
    objects, found = [], []
    for image in range(IMAGES):
        if image % 7 == 3:
            continue  # empty
        for _ in range(r.integers(1, 12)):
            size = np.exp(r.uniform(np.log(6), np.log(180), 2))
            box = snap(np.concatenate([r.uniform(0, 300, 2), size]))
            objects.append(dict(image=image, box=box.tolist(), area=float(snap(box[2] * box[3] * r.uniform(.5, 1))),
                                crowd=bool(r.random() < .1), **{"class": int(r.integers(0, CLASSES - 1))}))
    for o in objects:
        if o["image"] % 5 == 1:
            continue  # nothing is detected there
        for _ in range(r.integers(0, 4)):
            jitter = r.normal(0, .12, 4) * np.array([o["box"][2], o["box"][3]] * 2)
            box = snap(np.maximum(np.array(o["box"]) + jitter * (r.random() < .9), [0, 0, 1, 1]))
            found.append(dict(image=o["image"], box=box.tolist(), score=float(np.round(r.random(), 1 if integer else 3)),
                              **{"class": o["class"] if r.random() < .85 else int(r.integers(0, CLASSES))}))
    for _ in range(220):  # more than 100 of a class in one image
        box = snap(np.concatenate([r.uniform(0, 300, 2), r.uniform(5, 120, 2)]))
        image = 0 if r.random() < .8 else int(r.integers(0, IMAGES))
        found.append(dict(image=image, box=box.tolist(), score=float(np.round(r.random(), 2)), **{"class": int(r.random() < .1)}))
    r.shuffle(found)
    return objects, found


def evaluate(objects, found):
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i) for i in range(IMAGES)], categories=[dict(id=c, name=str(c)) for c in range(CLASSES)],
        annotations=[dict(id=i + 1, image_id=o["image"], category_id=o["class"], bbox=o["box"], area=o["area"], iscrowd=int(o["crowd"]))
                     for i, o in enumerate(objects)])
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes([dict(image_id=d["image"], category_id=d["class"], bbox=d["box"], score=d["score"]) for d in found])

        def stats(classes):
            e = COCOeval(coco, results, "bbox")
            e.params.catIds = classes
            e.evaluate(), e.accumulate(), e.summarize()
            return e.stats.tolist()

        return dict(all=stats(list(range(CLASSES))), each=[stats([c]) for c in range(CLASSES)])


cases = []
for seed, integer in [(0, True), (1, False), (2, True)]:
    objects, found = make(seed, integer)
    cases.append(dict(images=IMAGES, classes=CLASSES, objects=objects, detections=found, **evaluate(objects, found)))
json.dump(cases, open(sys.argv[1] if len(sys.argv) > 1 else "boxes.json", "w"), separators=(",", ":"))
