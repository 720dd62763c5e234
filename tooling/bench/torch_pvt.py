"""PVT v2 in PyTorch for the bench: answers one JSON line per line of input; see bench.ts.

A line {"load": {weights, config}} builds a model and sets its image, {"run": 1} times a forward,
{"train": 1} a step of AdamW on the image's batch with the labels 0, 1, 2, ...
"""

import json
import struct
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, dim, heads, ratio, reduction):
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        attn = {"q": nn.Linear(dim, dim), "kv": nn.Linear(dim, 2 * dim), "proj": nn.Linear(dim, dim)}
        if reduction > 1:
            attn["sr"], attn["norm"] = nn.Conv2d(dim, dim, reduction, reduction), nn.LayerNorm(dim, 1e-5)
        self.attn = nn.ModuleDict(attn)
        hidden = dim * ratio
        depthwise = nn.ModuleDict({"dwconv": nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)})
        layers = {"fc1": nn.Linear(dim, hidden), "dwconv": depthwise, "fc2": nn.Linear(hidden, dim)}
        self.mlp = nn.ModuleDict(layers)

    def attend(self, x, size):
        batch, count, dim = x.shape
        split = lambda t: t.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
        source = x
        if self.reduction > 1:
            source = self.attn["sr"](x.transpose(1, 2).reshape(batch, dim, *size)).flatten(2).transpose(1, 2)
            source = self.attn["norm"](source)
        key, value = self.attn["kv"](source).chunk(2, -1)
        scores = split(self.attn["q"](x)) @ split(key).transpose(2, 3) * (dim // self.heads) ** -0.5
        heads = scores.softmax(-1) @ split(value)
        return self.attn["proj"](heads.transpose(1, 2).reshape(batch, count, dim))

    def forward(self, x, size):
        x = x + self.attend(self.norm1(x), size)
        hidden = self.mlp["fc1"](self.norm2(x))
        batch, count, width = hidden.shape
        hidden = self.mlp["dwconv"]["dwconv"](hidden.transpose(1, 2).reshape(batch, width, *size))
        return x + self.mlp["fc2"](F.gelu(hidden.flatten(2).transpose(1, 2)))


class Pvt(nn.Module):
    def __init__(self, dims, depths, heads, ratios, reductions, classes):
        super().__init__()
        self.depths = depths
        for i, dim in enumerate(dims):
            side, stride, before = (7, 4, 3) if i == 0 else (3, 2, dims[i - 1])
            projection = nn.Conv2d(before, dim, side, stride, side // 2)
            embed = nn.ModuleDict({"proj": projection, "norm": nn.LayerNorm(dim, 1e-5)})
            blocks = [Block(dim, heads[i], ratios[i], reductions[i]) for _ in range(depths[i])]
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dim, 1e-6))
        self.head = nn.Linear(dims[-1], classes)

    def forward(self, x):
        for i in range(1, len(self.depths) + 1):
            embed = getattr(self, f"patch_embed{i}")
            x = embed["proj"](x)
            size = x.shape[2:]
            x = embed["norm"](x.flatten(2).transpose(1, 2))
            for block in getattr(self, f"block{i}"):
                x = block(x, size)
            x = getattr(self, f"norm{i}")(x)
            tokens, x = x, x.transpose(1, 2).reshape(x.shape[0], -1, *size)
        return self.head(tokens.mean(1))


def read(path):
    """Tensors of a float32 safetensors file."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(body[start:end], dtype=torch.float32).reshape(entry["shape"])
    return tensors


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    model = image = None
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "load" in order:
            config = order["load"]["config"]
            keys = ("dims", "depths", "heads", "mlpRatios", "reductions", "classes")
            model = Pvt(*(config[key] for key in keys)).eval()
            state = read(order["load"]["weights"])
            image = state.pop("input")
            model.load_state_dict(state)
            print(json.dumps({"logits": model(image).flatten().tolist()}), flush=True)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
            labels = torch.arange(len(image)) % config["classes"]
        elif "train" in order:
            start = time.perf_counter()
            with torch.enable_grad():
                loss = F.cross_entropy(model(image), labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            print(json.dumps({"ms": 1000 * (time.perf_counter() - start), "loss": loss.item()}), flush=True)
        else:
            start = time.perf_counter()
            model(image)
            print(json.dumps({"ms": 1000 * (time.perf_counter() - start)}), flush=True)


main()
