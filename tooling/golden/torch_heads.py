"""Reference numbers of UPerNet's, SegFormer's and U-Net's heads from PyTorch's own layers, in float64:
no published implementation's numbers are at hand. `python3 torch_heads.py` writes
`fixtures/heads/{upernet,segformer,unet}_odd_feats_seed0.json`. Modules carry the names of mmsegmentation's
UPerHead and transformers' SegformerDecodeHead; the U-Net's are ours."""
import base64, json, math, os, struct
import torch
from torch import nn
import torch.nn.functional as F

MASK = 0xFFFFFFFF


def uniform(name, count):
    """The generator of generator.ts: values of variance 1 from a name."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & MASK
    x = (h + torch.arange(count, dtype=torch.int64) * 0x9E3779B9) & MASK
    x = x ^ (x >> 16)
    x = mul32(x, 0x85EBCA6B)
    x = x ^ (x >> 13)
    x = mul32(x, 0xC2B2AE35)
    x = x ^ (x >> 16)
    return (2 * (x.double() / 4294967296) - 1) * math.sqrt(3)


def mul32(x, factor):
    """A product modulo 2^32 in halves, for int64 would overflow."""
    low, high = x & 0xFFFF, x >> 16
    return (low * factor + (((high * factor) & 0xFFFF) << 16)) & MASK


def parameter(name, shape, sibling_rank):
    v = uniform(f"0/{name}", math.prod(shape)).reshape(shape)
    last = name.split(".")[-1]
    if last == "weight":
        p = 1 + 0.1 * v if len(shape) == 1 else v * (1 / math.sqrt(math.prod(shape[1:])))
    elif last == "bias":
        p = 0.1 * v if sibling_rank == 1 else v * 0.02
    else:
        p = {"running_mean": 0.1 * v, "running_var": 1 + 0.1 * v}.get(last, v)
    return p.float().double()


def fill(module, prefix):
    state = module.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        sibling = state.get(name[:-4] + "weight") if name.endswith("bias") else None
        state[name] = parameter(prefix + name, list(tensor.shape), None if sibling is None else sibling.dim())
    module.load_state_dict(state)
    return module.double().eval()


class ConvModule(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def to(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class UperNet(nn.Module):
    def __init__(self, widths, channels, classes):
        super().__init__()
        sides = (1, 2, 3, 6)
        pool = lambda side: nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvModule(widths[-1], channels, 1))
        self.psp_modules = nn.ModuleList(pool(side) for side in sides)
        self.bottleneck = ConvModule(widths[-1] + len(sides) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(width, channels, 1) for width in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvModule(len(widths) * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, maps):
        deepest = maps[-1]
        pools = [to(pool(deepest), deepest.shape[2:]) for pool in self.psp_modules]
        laterals = [conv(map) for conv, map in zip(self.lateral_convs, maps)]
        laterals.append(self.bottleneck(torch.cat([deepest, *pools], 1)))
        for i in reversed(range(1, len(laterals))):
            laterals[i - 1] = laterals[i - 1] + to(laterals[i], laterals[i - 1].shape[2:])
        levels = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)] + [laterals[-1]]
        levels = [to(level, levels[0].shape[2:]) for level in levels]
        return self.conv_seg(self.fpn_bottleneck(torch.cat(levels, 1)))


class Projection(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.proj(x.flatten(2).transpose(1, 2))


class SegFormer(nn.Module):
    def __init__(self, widths, channels, classes):
        super().__init__()
        self.linear_c = nn.ModuleList(Projection(width, channels) for width in widths)
        self.linear_fuse = nn.Conv2d(channels * len(widths), channels, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, maps):
        levels = []
        for map, mlp in zip(maps, self.linear_c):
            tokens = mlp(map).permute(0, 2, 1)
            levels.append(to(tokens.reshape(map.shape[0], -1, *map.shape[2:]), maps[0].shape[2:]))
        return self.classifier(F.relu(self.batch_norm(self.linear_fuse(torch.cat(levels[::-1], 1)))))


class UnetBlock(nn.Module):
    def __init__(self, coarse, fine, width):
        super().__init__()
        self.conv1 = ConvModule(coarse + fine, width, 3)
        self.conv2 = ConvModule(width, width, 3)

    def forward(self, x, skip):
        return self.conv2(self.conv1(torch.cat([to(x, skip.shape[2:]), skip], 1)))


class Unet(nn.Module):
    def __init__(self, widths, channels, classes):
        super().__init__()
        self.blocks = nn.ModuleList(
            UnetBlock(coarse, fine, fine) for fine, coarse in zip(widths, widths[1:])
        )
        self.conv_seg = nn.Conv2d(widths[0], classes, 1)

    def forward(self, maps):
        x = maps[-1]
        for i in reversed(range(len(self.blocks))):
            x = self.blocks[i](x, maps[i])
        return self.conv_seg(x)


shapes = {"feat0": [2, 16, 26, 31], "feat1": [2, 32, 13, 16], "feat2": [2, 40, 7, 8], "feat3": [2, 64, 4, 4]}
maps = [
    uniform(f"0/{name}", math.prod(shape)).reshape(shape).float().double() for name, shape in shapes.items()
]
widths = [shape[1] for shape in shapes.values()]
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "heads")
for name, model in {"upernet": UperNet, "segformer": SegFormer, "unet": Unet}.items():
    with torch.no_grad():
        logits = fill(model(widths, 24, 7), "decode_head.")(maps)
    flat = logits.flatten()
    step = flat.numel() // 512 | 1
    samples = flat[::step].float().tolist()
    golden = {
        "name": f"{name}_odd_feats_seed0",
        "implementation": f"PyTorch {torch.__version__}",
        "seed": 0,
        "inputs": shapes,
        "outputs": {
            "seg_logits": {
                "shape": list(logits.shape),
                "step": step,
                "samples": base64.b64encode(struct.pack(f"<{len(samples)}f", *samples)).decode(),
                "mean": flat.mean().item(),
                "std": flat.std(unbiased=False).item(),
                "maxAbs": flat.abs().max().item(),
            }
        },
    }
    with open(os.path.join(folder, golden["name"] + ".json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")
