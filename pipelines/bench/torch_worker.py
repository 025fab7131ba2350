"""The PyTorch side of `sdr bench --torch`: a process that speaks JSON lines over standard input and output.

It first writes {"torch": VERSION}. A request {"case": KIND, "threads", "budget", ...sizes} builds every variant of the
case, tries each for about `budget` seconds, keeps the fastest and answers {"variant", "seconds"}; if "memory" is
requested and known, "memory_mib" is the variant's growth of the peak resident memory. {"run": n} then runs the variant
n times and answers {"seconds", "wait"}, where wait is the time spent waiting for data. A failure is answered with
{"error"}, plus "missing" if a package could not be imported.
"""

import contextlib
import copy
import ctypes
import io
import itertools
import json
import os
import shutil
import sys
import time


def gemm(torch, q, notes):
    a = torch.rand(q["k"], q["m"]).t() if q["trans_a"] else torch.rand(q["m"], q["k"])
    b = torch.rand(q["n"], q["k"]).t() if q["trans_b"] else torch.rand(q["k"], q["n"])
    c = torch.empty(q["m"], q["n"])
    yield "eager", lambda: (lambda: torch.mm(a, b, out=c))


def conv(torch, q, notes):
    size, stride, pad = q["size"], [q["stride"]] * 2, [q["pad"]] * 2

    def build(form, dtype):
        x = torch.rand(q["n"], q["in"], size, size).to(dtype=dtype, memory_format=form)
        w = torch.rand(q["out"], q["in"], q["kernel"], q["kernel"]).to(dtype=dtype, memory_format=form)
        if q["pass"] == "forward":
            return lambda: torch.nn.functional.conv2d(x, w, None, stride, pad)
        dy = torch.rand_like(torch.nn.functional.conv2d(x, w, None, stride, pad))
        mask = [q["pass"] == "backward-data", q["pass"] == "backward-weights", False]
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, stride, pad, [1, 1], False, [0, 0], 1, mask)

    for name, form in formats(torch):
        yield name, lambda form=form: build(form, torch.float32)
        if q["precision"] == "bf16":
            yield name + " bf16", lambda form=form: build(form, torch.bfloat16)


def formats(torch):
    return [("eager", torch.contiguous_format), ("channels_last", torch.channels_last)]


def step(torch, q, notes):
    size = q["size"]

    def build(form, wrap, autocast):
        train = trainer(torch, q, form, wrap, autocast)
        views = [torch.rand(q["images"], 3, size, size).to(q["device"], memory_format=form) for _ in range(2)]

        def run():
            for _ in range(q["steps"]):
                train(*views)

        return run

    yield from training_variants(torch, q, notes, build)


def training_variants(torch, q, notes, build):
    casts = [("", contextlib.nullcontext)]
    if q["precision"] == "bf16":
        casts.append((" bf16", lambda: torch.autocast(q["device"], dtype=torch.bfloat16)))
    wraps = [("", lambda net: net)]
    if q["compile"]:
        if any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "g++", "clang++")):
            wraps.append((" compiled", torch.compile))
            if q["device"] == "cuda":
                wraps.append((" reduce-overhead", lambda net: torch.compile(net, mode="reduce-overhead")))
        else:
            notes.append("torch.compile was not tried: it needs a C++ compiler")
    for name, form in formats(torch):
        for cast, autocast in casts:
            for wrapped, wrap in wraps:
                if wrapped and q["device"] == "cuda" and (name, cast) != ("channels_last", casts[-1][0]):
                    continue  # takes half a minute, and Inductor chooses the memory format itself
                yield name + wrapped + cast, lambda form=form, wrap=wrap, autocast=autocast: build(form, wrap, autocast)


def trainer(torch, q, form, wrap, autocast):
    """A training step: one pass per view, so that BatchNorm uses the statistics of each view; loss; backward; SGD."""
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, features = BACKBONES[q["arch"]](torch, q["width"])
            self.projector = projector(nn, features, q)
            self.predictor = nn.Identity()
            if q["predictor_hidden"]:
                hidden, dim = q["predictor_hidden"], q["projector_dim"]
                self.predictor = nn.Sequential(
                    nn.Linear(dim, hidden, bias=False),
                    nn.BatchNorm1d(hidden),
                    nn.ReLU(inplace=True),
                    nn.Linear(hidden, dim),
                )

        def forward(self, x):
            z = self.projector(self.backbone(x))
            return z, self.predictor(z)

    def simsiam(z1, p1, z2, p2):
        return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2

    def ntxent(z1, p1, z2, p2):
        z = F.normalize(torch.cat([z1, z2]))
        n = len(z1)
        similar = z @ z.t() / 0.2
        similar.fill_diagonal_(float("-inf"))
        return F.cross_entropy(similar, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]).to(z.device))

    loss_of = {"simsiam": simsiam, "ntxent": ntxent}[q["method"]]
    net = Net().to(q["device"], memory_format=form).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4, fused=True)
    wrapped = wrap(net)

    def train(x1, x2):
        with autocast():
            loss = loss_of(*wrapped(x1), *wrapped(x2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return train


def resnet18(torch, width):
    """torchvision's ResNet-18 of any width, with a 3x3 stem for small images and without the classifier."""
    from torchvision.models.resnet import BasicBlock, conv1x1

    nn = torch.nn
    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage in range(4):
        out, stride, shortcut = width << stage, 2 if stage else 1, None
        if stage:
            shortcut = nn.Sequential(conv1x1(channels, out, stride), nn.BatchNorm2d(out))
        layers += [BasicBlock(channels, out, stride, shortcut), BasicBlock(out, out)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def resnet50(torch, width):
    """torchvision's ResNet-50 without the classifier; its width is 64."""
    from torchvision.models import resnet50

    net = resnet50()
    net.fc = torch.nn.Identity()
    return net, 2048


def mobilenet_v2(torch, width):
    """torchvision's MobileNetV2 for small images, whose first stride is 1, without dropout and classifier."""
    from torchvision.models import mobilenet_v2

    net = mobilenet_v2(width_mult=width / 64)
    net.features[0][0].stride = (1, 1)
    net.classifier = torch.nn.Identity()
    return net, net.last_channel


BACKBONES = {"resnet18": resnet18, "resnet50": resnet50, "mobilenet_v2": mobilenet_v2}


def projector(nn, features, q):
    """Linear layers with ReLU in between, and either BatchNorm after each (the last without scale and shift) or biases."""
    layers = []
    for i in range(q["projector_layers"]):
        last = i == q["projector_layers"] - 1
        out = q["projector_dim"] if last else q["projector_hidden"]
        layers.append(nn.Linear(features, out, bias=not q["projector_bn"]))
        if q["projector_bn"]:
            layers.append(nn.BatchNorm1d(out, affine=not last))
        if not last:
            layers.append(nn.ReLU(inplace=True))
        features = out
    return nn.Sequential(*layers)


def loop(torch, q, notes):
    """Lightly's loop: Pillow decodes, torchvision makes the views, and workers or the process itself load the batches."""
    from lightly.data.multi_view_collate import MultiViewCollate
    from lightly.transforms import SimSiamTransform

    images, load = read(q), decode
    if q["format"] == "decoded":
        images, load = [decode(data) for data in images], lambda image: image
    transform = SimSiamTransform(input_size=q["size"], gaussian_blur=0.0)

    class Images(torch.utils.data.Dataset):
        batches = 1  # per epoch

        def __len__(self):
            return self.batches * q["images"]

        def __getitem__(self, i):
            return transform(load(images[i % len(images)])), 0, ""

    gpu = q["device"] == "cuda"

    def build(form, wrap, autocast, workers):
        train = trainer(torch, q, form, wrap, autocast)
        dataset = Images()
        loader = torch.utils.data.DataLoader(
            dataset, q["images"], num_workers=workers, persistent_workers=workers > 0, collate_fn=MultiViewCollate(),
            pin_memory=gpu,
        )

        def take(views):
            train(*(v.to(q["device"], memory_format=form, non_blocking=True) for v in views))

        return Loop(dataset, loader, take, finisher(torch, q))

    for workers in (q["threads"],) if gpu else (0, 2):
        for name, make in training_variants(torch, q, notes, lambda *wanted, workers=workers: build(*wanted, workers)):
            yield f"{name}, {workers} workers", make


class Loop:
    """A loop that trains on batch after batch and records how long it waits for them. finish waits until the device has done it."""

    def __init__(self, images, loader, train, finish):
        self.images, self.loader, self.train, self.finish = images, loader, train, finish

    def run(self, n):
        """Runs n steps of a new epoch of n batches, so that workers make no batch outside the measurement."""
        self.images.batches = n
        wait, start = 0.0, time.perf_counter()
        batches = iter(self.loader)
        for _ in range(n):
            before = time.perf_counter()
            views, _, _ = next(batches)
            wait += time.perf_counter() - before
            self.train(views)
        self.finish()
        return time.perf_counter() - start, wait


def augment(torch, q, notes):
    from PIL import Image
    from torchvision import transforms as T

    encoded, size = itertools.cycle(read(q)), q["size"]
    if q["op"] == "decode-photo":
        square = T.Compose([T.Resize(size, T.InterpolationMode.BICUBIC), T.CenterCrop(size)])
        yield "pillow", lambda: (lambda: square(decode(next(encoded), (size, size))))
    elif q["op"] == "view":
        images = itertools.cycle([decode(data) for data in read(q)])
        view = T.Compose([
            T.RandomResizedCrop(size, (0.2, 1.0)),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.ToTensor(),
            T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        yield "torchvision", lambda: (lambda: view(next(images)))
    else:
        yield "pillow", lambda: (lambda: decode(next(encoded)))


def decode(data, at_least=None):
    """Decodes an image; a JPEG is decoded at the smallest scale that is at least the given size."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    if at_least:
        image.draft("RGB", at_least)
    return image.convert("RGB")


def read(q):
    """The encoded images of the case's folder."""
    files = []
    for name in sorted(os.listdir(q["folder"])):
        with open(os.path.join(q["folder"], name), "rb") as f:
            files.append(f.read())
    return files


def forward(torch, q, notes):
    import torchvision

    net = torchvision.models.get_model(q["arch"], weights=None).eval()
    net.fc = torch.nn.Identity()
    x = torch.rand(q["images"], 3, q["size"], q["size"])
    cuda = q["device"] == "cuda"

    def build(form):
        images, inference = x.to(memory_format=form), copy.deepcopy(net).to(q["device"], memory_format=form)
        if not cuda:
            return torch.inference_mode()(lambda: inference(images))
        pinned = images.pin_memory()
        return torch.inference_mode()(lambda: inference(pinned.to("cuda", non_blocking=True)).cpu())

    for name, form in formats(torch):
        yield name, lambda form=form: build(form)
    if cuda:
        return
    try:
        session = onnx_session(torch, net, x, q)
        yield "onnxruntime", lambda: (lambda: session.run(None, {"x": x.numpy()}))
    except ImportError as e:
        notes.append(f"onnxruntime was not tried: {e}; install onnx, onnxscript and onnxruntime")


def onnx_session(torch, net, x, q):
    import onnxruntime

    path = os.path.join(q["folder"], "net.onnx")
    torch.onnx.export(net, (x,), path, input_names=["x"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = q["threads"]
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def kmeans(torch, q, notes):
    """scikit-learn and faiss, from the first vectors: one iteration, or a whole fit of as many as given."""
    if q["device"] == "cuda":
        yield from torch_kmeans(torch, q)
        return
    import faiss
    import numpy as np
    from sklearn.cluster import KMeans

    x, k, iterations = np.random.default_rng(1).standard_normal((q["rows"], q["width"]), dtype=np.float32), q["k"], q["iterations"]
    start = x[:k].copy()
    faiss.omp_set_num_threads(q["threads"])

    def fit_faiss(n):
        faiss.Kmeans(q["width"], k, niter=n, max_points_per_centroid=len(x)).train(x, init_centroids=start)

    def fit_sklearn():
        with threads(q):
            KMeans(k, init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd").fit(x)

    if iterations:
        yield "scikit-learn", lambda: fit_sklearn
        yield "faiss", lambda: lambda: fit_faiss(iterations)
    else:
        yield "scikit-learn", lambda: sklearn_iteration(np, x, start, q)
        yield "faiss", lambda: Iterations(fit_faiss)


def torch_kmeans(torch, q):
    """PyTorch on the GPU. A fit begins with vectors in the CPU's memory, and an iteration with vectors on the GPU."""
    k, iterations, device = q["k"], q["iterations"], q["device"]
    x = torch.randn(q["rows"], q["width"], device="cpu" if iterations else device)

    def by_product(x, centers):
        return torch.addmm(centers.square().sum(1), x, centers.t(), alpha=-2).argmin(1)

    def by_distance(x, centers):
        return torch.cdist(x, centers).argmin(1)

    def by_index(x, labels):
        return torch.zeros(k, x.shape[1], device=device).index_add_(0, labels, x)

    def by_one_hot(x, labels):
        return torch.nn.functional.one_hot(labels, k).t().to(x.dtype) @ x

    def build(assign, add):
        def iterate(x, centers):
            labels = assign(x, centers)
            counts = torch.bincount(labels, minlength=k)[:, None]
            return torch.where(counts > 0, add(x, labels) / counts, centers)

        def fit():
            on = x.to(device)
            centers = on[:k].clone()
            for _ in range(iterations):
                centers = iterate(on, centers)
            return assign(on, centers).cpu()

        if iterations:
            return fit
        state = [x[:k].clone()]

        def once():
            state[0] = iterate(x, state[0])

        return once

    for assign in (by_product, by_distance):
        for add in (by_index, by_one_hot):
            yield f"{assign.__name__}, {add.__name__}", lambda assign=assign, add=add: build(assign, add)


def threads(q):
    """Limits OpenMP, which scikit-learn takes its number of threads from."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(q["threads"])


def sklearn_iteration(np, x, start, q):
    """An iteration as KMeans computes it, without what it does once per fit."""
    from sklearn.cluster._k_means_lloyd import lloyd_iter_chunked_dense
    from threadpoolctl import threadpool_limits

    k = len(start)
    centers = [start, np.zeros_like(start)]
    ones, weights, shifts = np.ones(len(x), x.dtype), np.zeros(k, x.dtype), np.zeros(k, x.dtype)
    labels = np.zeros(len(x), np.int32)

    def iterate():
        with threadpool_limits(1, user_api="blas"):
            lloyd_iter_chunked_dense(x, ones, *centers, weights, labels, shifts, q["threads"])
        centers.reverse()

    return iterate


class Iterations:
    """One fit of as many iterations as there are runs."""

    def __init__(self, fit):
        self.fit = fit

    def run(self, n):
        start = time.perf_counter()
        self.fit(n)
        return time.perf_counter() - start, 0.0


def knn(torch, q, notes):
    if q["device"] == "cuda":
        yield from torch_knn(torch, q)
        return
    import faiss
    import numpy as np

    random = np.random.default_rng(1)
    base, queries = (random.standard_normal((n, q["width"]), dtype=np.float32) for n in (q["rows"], q["queries"]))
    faiss.omp_set_num_threads(q["threads"])
    index = faiss.IndexFlatIP(q["width"])
    index.add(base)
    yield "faiss", lambda: (lambda: index.search(queries, q["k"]))


def torch_knn(torch, q):
    """PyTorch on the GPU, from and to the CPU's memory: all queries at once or some after the other."""
    base, queries = (torch.randn(n, q["width"]) for n in (q["rows"], q["queries"]))

    def search(some):
        on = base.to(q["device"])
        found = [torch.topk(part @ on.t(), q["k"]) for part in queries.to(q["device"]).split(some)]
        return torch.cat([f.values for f in found]).cpu(), torch.cat([f.indices for f in found]).cpu()

    for some in (q["queries"], 2048):
        yield f"{some} queries at once", lambda some=some: (lambda: search(some))


CASES = {
    "gemm": gemm, "conv": conv, "step": step, "loop": loop, "augment": augment, "forward": forward,
    "kmeans": kmeans, "knn": knn,
}


class Once:
    """Repeated work that never waits for data. finish waits until the device has done it."""

    def __init__(self, once, finish):
        self.once, self.finish = once, finish

    def run(self, n):
        start = time.perf_counter()
        for _ in range(n):
            self.once()
        self.finish()
        return time.perf_counter() - start, 0.0


def prepare(torch, q):
    """Builds and tries every variant, and returns the answer for the fastest and the variant itself."""
    torch.manual_seed(1)
    torch.set_num_threads(q["threads"])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = q["precision"] == "tf32"
    warm_up(torch)
    best = fastest = failure = None
    notes = []
    for name, build in CASES[q["case"]](torch, q, notes):
        try:
            said, made = attempt(torch, name, build, q)
        except ImportError:
            raise
        except Exception as e:  # such as a compiler's; the other variants remain
            notes.append(f"{name} failed: {describe(e)}")
            failure = e
            continue
        if best is None or said["seconds"] < best["seconds"]:
            best, fastest = said, made
        del made
    if best is None:
        raise failure
    if "tcmalloc" in os.environ.get("LD_PRELOAD", ""):
        best["variant"] += ", tcmalloc"
    return best | {"note": "; ".join(notes)}, fastest


def finisher(torch, q):
    """What waits until the device has done all work."""
    return torch.cuda.synchronize if q["device"] == "cuda" else lambda: None


def attempt(torch, name, build, q):
    """Builds and tries one variant."""
    before = start_memory(torch, q) if q["memory"] else None
    made = build()
    made = made if hasattr(made, "run") else Once(made, finisher(torch, q))
    made.run(1)
    said = {"variant": name, "seconds": trial(made, q["budget"])}
    if q["device"] == "cuda" and before is not None:
        said["memory_mib"] = torch.cuda.max_memory_allocated() / 2**20 - before
    elif before:
        said["memory_mib"] = status("VmHWM") - before
    return said, made


def describe(e):
    """An exception in one line."""
    return f"{type(e).__name__}: {str(e).strip()}".splitlines()[0]


def trial(made, budget):
    """The seconds per run, the shorter of two measurements."""
    n = 1
    while (seconds := made.run(n)[0]) < budget / 10:
        n *= 4
    n = max(1, round(budget / 2 / seconds * n))
    return min(made.run(n)[0] / n for _ in range(2))


def warm_up(torch):
    """Loads everything that the first operations load, so that it does not count as a net's memory."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    net(torch.rand(16, 3, 32, 32)).sum().backward()


def release():
    """Returns freed memory to the system."""
    libraries = ctypes.CDLL(None)
    for name, arguments in (("MallocExtension_ReleaseFreeMemory", []), ("malloc_trim", [0])):
        with contextlib.suppress(AttributeError):
            getattr(libraries, name)(*arguments)


def start_memory(torch, q):
    """Resets the peak and returns the resident memory in MiB, or what tensors take of the GPU's; 0 if unknown."""
    if q["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    release()
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        return 0
    return status("VmRSS")


def status(field):
    with open("/proc/self/status") as f:
        return next((int(line.split()[1]) / 1024 for line in f if line.startswith(field + ":")), 0)


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps packages' output out of the answers

    def answer(**said):
        answers.write(json.dumps(said) + "\n")

    try:
        import torch
    except ImportError as e:
        answer(error=str(e), missing=e.name or "torch")
        return
    answer(torch=torch.__version__)
    fastest = None
    for line in sys.stdin:
        q = json.loads(line)
        try:
            if "run" in q:
                seconds, wait = fastest.run(q["run"])
                answer(seconds=seconds, wait=wait)
            else:
                fastest = None
                said, fastest = prepare(torch, q)
                answer(**said)
        except ImportError as e:
            answer(error=str(e), missing=e.name or "a package")
        except Exception as e:
            answer(error=describe(e))


if __name__ == "__main__":
    main()
