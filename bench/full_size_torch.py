"""Logits of a full-size transformer in PyTorch, float32, block by block, and how far ours are from them.

Run by bench/full_size.ts with the description of a case (JSON), beside which lie the weights in half precision, the input
and our logits. Every block is computed twice, with the weights of the file and with the float32 weights that these were
rounded from, and its weights are dropped before the next one: memory is that of two blocks.

Prints one JSON object: errors per condition, seconds of the blocks, peak of resident memory.
"""
import argparse
import json
import math
import resource
import struct
import sys
import time

import numpy as np

try:
    import torch
except ImportError:
    sys.exit("full_size_torch.py: this Python has no torch; on Debian or Ubuntu: apt-get install python3-torch")
import torch.nn.functional as F

PIECE = 1 << 22


def fnv1a32(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def scale_of(name, shape):
    """Offset and scale of synthetic weights, as in models/checkpoint/synthetic.ts."""
    leaf = name.rsplit(".", 1)[-1]
    half = {
        "embeddings.weight", "class_emb.weight", "lvl_embed.weight", "cls_token", "pos_embed", "target_aware_pos_embed",
        "timesteps_embeddings", "pos_start", "pos_1LC",
    }
    if leaf == "scale_mul_1H11":
        return math.log(4), 0.1
    if name in half or leaf == "ada_gss":
        return 0, 0.5
    if len(shape) == 1:
        return (1, 0.1) if leaf == "weight" else (0, 0.05)
    return 0, math.sqrt(3 / math.prod(shape[1:]))


def synthetic(salt, name, shape):
    """The float32 weights that the file's were rounded from."""
    seed, (offset, scale) = fnv1a32(f"{salt}:{name}"), scale_of(name, shape)
    out = np.empty(math.prod(shape), np.float32)
    for begin in range(0, out.size, PIECE):
        count = min(PIECE, out.size - begin)
        h = np.arange(begin, begin + count, dtype=np.uint32)
        h *= np.uint32(0x9E3779B9)
        h += np.uint32(seed)
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            h ^= h >> np.uint32(shift)
            h *= np.uint32(factor)
        h ^= h >> np.uint32(16)
        out[begin : begin + count] = offset + scale * (h.astype(np.float64) * 2.0**-31 - 1)
    return out.reshape(shape)


class File:
    """The safetensors file, one tensor at a time, as float32."""

    def __init__(self, path):
        self.file = open(path, "rb")
        (size,) = struct.unpack("<Q", self.file.read(8))
        self.header = json.loads(self.file.read(size))
        self.start = 8 + size

    def shape(self, name):
        return self.header[name]["shape"]

    def read(self, name):
        info = self.header[name]
        begin, end = info["data_offsets"]
        self.file.seek(self.start + begin)
        dtype = {"F32": np.float32, "F16": np.float16}[info["dtype"]]
        values = np.fromfile(self.file, dtype, (end - begin) // np.dtype(dtype).itemsize)
        return values.astype(np.float32).reshape(info["shape"])


def rar_start(config, w, tokens, labels):
    n = config["tokenCount"]
    rows = n + 2
    none = config["codes"] + 1 + config["classes"]
    ids = torch.tensor([none if label is None else config["codes"] + 1 + label for label in labels])
    embeddings = w("embeddings.weight")
    embedded = F.embedding(ids, embeddings).unsqueeze(1)
    cls = w("cls_token").expand(len(labels), 1, -1)
    x = torch.cat([cls, embedded, F.embedding(tokens, embeddings)], dim=1) + w("pos_embed")[:, :rows]
    target = w("target_aware_pos_embed")
    x[:, 1 : n + 1] += target[:, 2 : n + 2]  # every row but the last says which place it predicts
    condition = F.silu(embedded + w("timesteps_embeddings")[:, :rows])
    mask = torch.full((rows, rows), float("-inf")).triu(1)
    return {"x": x, "condition": condition, "mask": mask}


def rar_block(config, w, state):
    heads, x = config["heads"], state["x"]
    batch, rows, d = x.shape
    table = F.linear(state["condition"], w("adaLN_modulation.1.weight"), w("adaLN_modulation.1.bias"))
    shift1, scale1, gate1, shift2, scale2, gate2 = table.chunk(6, dim=-1)
    h = F.layer_norm(x, (d,), w("norm1.weight"), w("norm1.bias"), 1e-6) * (1 + scale1) + shift1
    qkv = F.linear(h, w("attn.qkv.weight"), w("attn.qkv.bias"))
    q, k, v = qkv.reshape(batch, rows, 3, heads, d // heads).permute(2, 0, 3, 1, 4).unbind(0)
    q = F.layer_norm(q, (d // heads,), w("attn.q_norm.weight"), w("attn.q_norm.bias"), 1e-6)
    k = F.layer_norm(k, (d // heads,), w("attn.k_norm.weight"), w("attn.k_norm.bias"), 1e-6)
    y = (q * (d // heads) ** -0.5 @ k.transpose(-2, -1) + state["mask"]).softmax(-1) @ v
    x = x + gate1 * F.linear(y.transpose(1, 2).reshape(batch, rows, d), w("attn.proj.weight"), w("attn.proj.bias"))
    h = F.layer_norm(x, (d,), w("norm2.weight"), w("norm2.bias"), 1e-6) * (1 + scale2) + shift2
    h = F.gelu(F.linear(h, w("mlp.fc1.weight"), w("mlp.fc1.bias")))
    state["x"] = x + gate2 * F.linear(h, w("mlp.fc2.weight"), w("mlp.fc2.bias"))


def rar_head(config, w, state):
    ada = "adaln_before_head.adaLN_modulation.1"
    scale, shift = F.linear(state["condition"], w(f"{ada}.weight"), w(f"{ada}.bias")).chunk(2, dim=-1)
    x = F.layer_norm(state["x"], state["x"].shape[-1:], None, None, 1e-6) * (1 + scale) + shift
    return F.linear(x[:, 1:-1], w("lm_head.weight"), w("lm_head.bias"))  # nothing follows the last token


def var_start(config, w, rows, labels):
    index = torch.tensor([config["classes"] if label is None else label for label in labels])
    embedded = F.embedding(index, w("class_emb.weight")).unsqueeze(1)
    sizes = [pn * pn for pn in config["patchNums"]]
    levels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    words = F.linear(rows, w("word_embed.weight"), w("word_embed.bias"))
    x = torch.cat([embedded + w("pos_start"), words], dim=1)
    x = x + w("pos_1LC") + F.embedding(levels, w("lvl_embed.weight"))
    mask = torch.where(levels[:, None] >= levels[None, :], 0.0, float("-inf"))
    return {"x": x, "condition": F.silu(embedded), "mask": mask}


def var_block(config, w, state):
    heads, x = config["heads"], state["x"]
    batch, rows, d = x.shape
    table = F.linear(state["condition"], w("ada_lin.1.weight"), w("ada_lin.1.bias"))
    gate1, gate2, scale1, scale2, shift1, shift2 = table.chunk(6, dim=-1)
    h = F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale1) + shift1
    bias = torch.cat([w("attn.q_bias"), torch.zeros(d), w("attn.v_bias")])
    qkv = F.linear(h, w("attn.mat_qkv.weight"), bias)
    q, k, v = qkv.reshape(batch, rows, 3, heads, d // heads).permute(2, 0, 3, 1, 4).unbind(0)
    q = F.normalize(q, dim=-1) * w("attn.scale_mul_1H11").clamp_max(math.log(100)).exp()
    y = (q @ F.normalize(k, dim=-1).transpose(-2, -1) + state["mask"]).softmax(-1) @ v
    x = x + gate1 * F.linear(y.transpose(1, 2).reshape(batch, rows, d), w("attn.proj.weight"), w("attn.proj.bias"))
    h = F.layer_norm(x, (d,), None, None, 1e-6) * (1 + scale2) + shift2
    h = F.gelu(F.linear(h, w("ffn.fc1.weight"), w("ffn.fc1.bias")), approximate="tanh")
    state["x"] = x + gate2 * F.linear(h, w("ffn.fc2.weight"), w("ffn.fc2.bias"))


def var_head(config, w, state):
    scale, shift = F.linear(state["condition"], w("head_nm.ada_lin.1.weight"), w("head_nm.ada_lin.1.bias")).chunk(2, -1)
    x = F.layer_norm(state["x"], state["x"].shape[-1:], None, None, 1e-6) * (1 + scale) + shift
    return F.linear(x, w("head.weight"), w("head.bias"))


NETWORKS = {"rar": (rar_start, rar_block, rar_head), "var": (var_start, var_block, var_head)}


def compare(found, expected):
    """Distance of logits[batch, rows, codes], as they are and as log-probabilities."""
    error, magnitude = (found - expected).double(), expected.double()
    logs = (found.log_softmax(-1) - expected.log_softmax(-1)).abs()
    return {
        "maxAbs": error.abs().max().item(),
        "rms": error.pow(2).mean().sqrt().item(),
        "relativeRms": (error.pow(2).mean().sqrt() / magnitude.pow(2).mean().sqrt()).item(),
        "logProbabilityMax": logs.max().item(),
        "logProbabilityMean": logs.double().mean().item(),
        "sameBestToken": (found.argmax(-1) == expected.argmax(-1)).double().mean().item(),
    }


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.case) as text:
        case = json.load(text)
    config, file = case["config"], File(case["file"])
    start, block, head = NETWORKS[case["family"]]
    values = np.fromfile(f"{case['file']}.input", np.int32 if case["family"] == "rar" else np.float32)
    given = torch.from_numpy(values.reshape(case["shape"]))
    given = given.long() if case["family"] == "rar" else given
    images = given.shape[0]
    conditions = {"none": [None] * images, "class": case["classes"]}
    sources = {
        "file": file.read,
        "float32": lambda name: synthetic(case["salt"], name, file.shape(name)),
    }
    keys = [(condition, source) for source in sources for condition in conditions]
    seconds = dict.fromkeys(keys, 0.0)

    def step(run, prefix):
        """Runs a part of the network for both conditions with the same weights, source by source."""
        results = {}
        for source, read in sources.items():
            cache = {}

            def w(name):
                if name not in cache:
                    cache[name] = torch.from_numpy(read(prefix + name))
                return cache[name]

            for condition in conditions:
                key = (condition, source)
                if len(cache) == 0 and prefix:  # so that no reading is timed
                    for name in file.header:
                        if name.startswith(prefix):
                            w(name[len(prefix) :])
                begin = time.perf_counter()
                results[key] = run(w, key)
                seconds[key] += time.perf_counter() - begin
        return results

    states = step(lambda w, key: start(config, w, given, conditions[key[0]]), "")
    seconds = dict.fromkeys(keys, 0.0)
    depth = config["layers" if case["family"] == "rar" else "depth"]
    for i in range(depth):
        step(lambda w, key: block(config, w, states[key]), f"blocks.{i}.")
    block_seconds = {condition: seconds[(condition, "file")] for condition in conditions}
    logits = step(lambda w, key: head(config, w, states[key]), "")
    errors = {}
    for condition in conditions:
        own = np.fromfile(f"{case['file']}.{condition}.logits", np.float32)
        own = torch.from_numpy(own.reshape(logits[(condition, "file")].shape))
        errors[condition] = {
            "oursToFile": compare(own, logits[(condition, "file")]),
            "oursToFloat32": compare(own, logits[(condition, "float32")]),
            "fileToFloat32": compare(logits[(condition, "file")], logits[(condition, "float32")]),
        }
    print(json.dumps({
        "version": torch.__version__,
        "shape": list(logits[("none", "file")].shape),
        "errors": errors,
        "blockSeconds": block_seconds,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


if __name__ == "__main__":
    main()
