"""The street detector: a small convolutional net with the YOLOX family's outputs, its loss, and its ONNX file.

Head and assignment follow YOLOX (Ge et al. 2021, arXiv 2107.08430): no anchors, strides 8, 16 and 32, objectness and
classes apart, SimOTA. Body and neck are our own: plain 3x3 convolutions with ReLU, which every runtime runs fast on a
CPU. Rows of the output: cx, cy (offsets from the cell, in strides), log w, log h (in strides), objectness, classes, both
after their sigmoid; layout raw_grid of docs/model_packages.md.
"""
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
INPUT_SCALE = 1 / 64  # pixels of 0..255 come in; folded into the first weights of the file
CENTRE_RADIUS = 1.5   # strides; cells nearer than this to an object's centre may answer for it
CANDIDATES = 10       # of SimOTA's dynamic k


class Conv(nn.Module):
    """Convolution, batch norm, ReLU; `groups` as many as channels makes it depthwise."""

    def __init__(self, inputs, outputs, kernel=3, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Residual(nn.Module):
    def __init__(self, channels, middle):
        super().__init__()
        self.narrow = Conv(channels, middle, 1)
        self.wide = Conv(middle, channels, 3)

    def forward(self, x):
        return x + self.wide(self.narrow(x))


class Separable(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depth = Conv(channels, channels, 5, groups=channels)
        self.point = Conv(channels, channels, 1)

    def forward(self, x):
        return self.point(self.depth(x))


class StreetNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.stem = Conv(3, 12, 3, 2)
        self.down4 = Conv(12, 24, 3, 2)
        self.down8 = Conv(24, 48, 3, 2)
        self.body8 = Residual(48, 24)
        self.down16 = Conv(48, 64, 3, 2)
        self.body16 = nn.Sequential(Residual(64, 32), Residual(64, 32))
        self.down32 = Conv(64, 96, 3, 2)
        self.body32 = nn.Sequential(Residual(96, 48), Residual(96, 48))
        self.side32 = Conv(96, 48, 1)
        self.side16 = Conv(64, 48, 1)
        self.side8 = Conv(48, 48, 1)
        self.neck16 = Conv(48, 48, 3)
        self.neck8 = Residual(48, 24)
        self.boxes = nn.ModuleList(Separable(48) for _ in STRIDES)
        self.kinds = nn.ModuleList(Separable(48) for _ in STRIDES)
        self.box_out = nn.ModuleList(nn.Conv2d(48, 5, 1) for _ in STRIDES)
        self.kind_out = nn.ModuleList(nn.Conv2d(48, classes, 1) for _ in STRIDES)
        for box, kind in zip(self.box_out, self.kind_out):
            nn.init.normal_(box.weight, std=0.01)
            nn.init.normal_(kind.weight, std=0.01)
            # The cell's middle, about the size of somebody; hardly anything is an object.
            box.bias.data = torch.tensor([0.5, 0.5, 0.7, 1.0, -4.0])
            nn.init.constant_(kind.bias, -2.0)

    def levels(self, x):
        f8 = self.body8(self.down8(self.down4(self.stem(x))))
        f16 = self.body16(self.down16(f8))
        f32 = self.body32(self.down32(f16))
        p32 = self.side32(f32)
        p16 = self.neck16(self.side16(f16) + F.interpolate(p32, scale_factor=2, mode="nearest"))
        p8 = self.neck8(self.side8(f8) + F.interpolate(p16, scale_factor=2, mode="nearest"))
        return p8, p16, p32

    def forward(self, pixels):
        """Pixels 0..255, BGR, [B, 3, H, W] -> rows [B, cells, 5 + classes], scores as logits."""
        rows = []
        for i, level in enumerate(self.levels(pixels * INPUT_SCALE)):
            maps = torch.cat((self.box_out[i](self.boxes[i](level)), self.kind_out[i](self.kinds[i](level))), 1)
            rows.append(maps.flatten(2))
        return torch.cat(rows, 2).transpose(1, 2)


def cells(width, height):
    """[cells, 3]: column, row, stride, in the order of the rows."""
    grids = []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        grids.append(torch.stack((x.flatten(), y.flatten(), torch.full((x.numel(),), stride)), 1))
    return torch.cat(grids).float()


def decode(rows, grid):
    """Boxes x1, y1, x2, y2 in px of the input."""
    stride = grid[:, 2:3]
    centre = (rows[..., :2] + grid[:, :2]) * stride
    half = torch.exp(rows[..., 2:4].clamp(-4, 6)) * stride * 0.5
    return torch.cat((centre - half, centre + half), -1)


def pairwise_iou(a, b):
    """[..., A, 4] and [..., B, 4] -> [..., A, B]."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    return both / (area_a[..., :, None] + area_b[..., None, :] - both + 1e-6)


@torch.no_grad()
def assign(rows, boxes, grid, truth, kinds, counts):
    """SimOTA for a batch. truth [B, G, 4], kinds [B, G], counts [B, G] (1 = to be found, 0 = padding or not asked).

    Gives per cell: the object it answers for (-1 none), the IoU with it, and whether nothing is asked of it.
    """
    iou = pairwise_iou(truth, boxes)  # [B, G, N]
    middle = (grid[:, :2] + 0.5) * grid[:, 2:]
    centre = (truth[..., :2] + truth[..., 2:]) * 0.5
    away = (middle[None, None] - centre[:, :, None]).abs().amax(-1)
    near = (away < CENTRE_RADIUS * grid[:, 2]) & (counts[..., None] > 0)
    objectness = rows[..., 4].sigmoid()
    scores = (rows[..., 5:].sigmoid() * objectness[..., None]).clamp(1e-6, 1 - 1e-6).sqrt()
    wrong = -torch.log1p(-scores).sum(-1)  # of all classes
    one = torch.log1p(-scores) - torch.log(scores)  # what is gained when this class is right
    cost = wrong[:, None] + torch.gather(one.transpose(1, 2), 1, kinds[..., None].expand(-1, -1, one.shape[1]))
    cost = cost - 3 * torch.log(iou + 1e-8)
    cost = torch.where(near, cost, torch.full_like(cost, 1e9))
    best = torch.where(near, iou, torch.zeros_like(iou)).topk(CANDIDATES, -1).values
    wanted = best.sum(-1).int().clamp(min=1)
    cheapest = cost.topk(CANDIDATES, -1, largest=False)
    chosen = (torch.arange(CANDIDATES) < wanted[..., None]) & (cheapest.values < 1e8)
    match = torch.zeros_like(near).scatter_(2, cheapest.indices, chosen)
    # A cell that several want answers for the cheapest of them.
    owner = torch.where(match, cost, torch.full_like(cost, 1e9)).argmin(1)
    owner = torch.where(match.any(1), owner, torch.full_like(owner, -1))
    quality = torch.gather(iou, 1, owner.clamp(min=0)[:, None])[:, 0]
    not_asked = (iou * (counts == 0)[..., None]).amax(1) > 0.3
    return owner, quality, not_asked & (owner < 0)


def loss_of(rows, grid, truth, kinds, counts):
    boxes = decode(rows, grid)
    owner, quality, not_asked = assign(rows.detach(), boxes.detach(), grid, truth, kinds, counts)
    found = owner >= 0
    number = found.sum().clamp(min=1)
    batch = torch.arange(len(rows))[:, None].expand_as(owner)[found]
    target = truth[batch, owner[found]]
    ours = boxes[found]
    # GIoU (Rezatofighi et al. 2019): boxes that miss still know where to go.
    low, high = torch.maximum(ours[:, :2], target[:, :2]), torch.minimum(ours[:, 2:], target[:, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    union = (ours[:, 2:] - ours[:, :2]).prod(-1) + (target[:, 2:] - target[:, :2]).prod(-1) - both
    hull = (torch.maximum(ours[:, 2:], target[:, 2:]) - torch.minimum(ours[:, :2], target[:, :2])).prod(-1)
    box_loss = (1 - both / (union + 1e-6) + (hull - union) / (hull + 1e-6)).sum() / number
    object_loss = F.binary_cross_entropy_with_logits(rows[..., 4], found.float(), reduction="none")
    object_loss = (object_loss * (~not_asked)).sum() / number
    kind = F.one_hot(kinds[batch, owner[found]], rows.shape[-1] - 5).float() * quality[found][:, None].clamp(0, 1)
    kind_loss = F.binary_cross_entropy_with_logits(rows[..., 5:][found], kind, reduction="sum") / number
    return 5 * box_loss + object_loss + kind_loss, (box_loss.item(), object_loss.item(), kind_loss.item())


# ---- the file ----

class Graph:
    """Writes the net as ONNX nodes, batch norms folded into the convolutions."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind, inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def bare(self, x, conv, factor=1.0, bias=0.0):
        weight = conv.weight.detach().double()
        bias = bias if conv.bias is None else conv.bias.detach().double()
        factor = torch.as_tensor(factor, dtype=torch.float64).expand(weight.shape[0])
        bias = torch.as_tensor(bias, dtype=torch.float64).expand(weight.shape[0])
        k, p = conv.kernel_size[0], conv.padding[0]
        return self.node("Conv", [x, self.weight((weight * factor[:, None, None, None]).float().numpy()),
                                  self.weight(bias.float().numpy())],
                         kernel_shape=[k, k], strides=list(conv.stride), pads=[p] * 4, group=conv.groups)

    def conv(self, x, m, input_scale=1.0):
        factor = m.norm.weight.detach().double() / torch.sqrt(m.norm.running_var.double() + m.norm.eps)
        bias = m.norm.bias.detach().double() - m.norm.running_mean.double() * factor
        return self.node("Relu", [self.bare(x, m.conv, factor * input_scale, bias)])

    def residual(self, x, m):
        return self.node("Add", [x, self.conv(self.conv(x, m.narrow), m.wide)])

    def separable(self, x, m):
        return self.conv(self.conv(x, m.depth), m.point)

    def twice(self, x):
        return self.node("Resize", [x, "", self.weight(np.float32([1, 1, 2, 2]))], mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def save_onnx(net, path, width, height, metadata):
    net = net.eval()
    g = Graph()
    f8 = g.residual(g.conv(g.conv(g.conv("images", net.stem, INPUT_SCALE), net.down4), net.down8), net.body8)
    f16 = g.conv(f8, net.down16)
    for block in net.body16:
        f16 = g.residual(f16, block)
    f32 = g.conv(f16, net.down32)
    for block in net.body32:
        f32 = g.residual(f32, block)
    p32 = g.conv(f32, net.side32)
    p16 = g.conv(g.node("Add", [g.conv(f16, net.side16), g.twice(p32)]), net.neck16)
    p8 = g.residual(g.node("Add", [g.conv(f8, net.side8), g.twice(p16)]), net.neck8)
    numbers = 5 + net.classes
    split = g.weight(np.int64([4, 1]))
    flat = g.weight(np.int64([0, numbers, -1]))
    rows = []
    for i, level in enumerate((p8, p16, p32)):
        box = g.bare(g.separable(level, net.boxes[i]), net.box_out[i])
        where, objectness = f"where{i}", f"objectness{i}"
        g.nodes.append(helper.make_node("Split", [box, split], [where, objectness], axis=1))
        kind = g.bare(g.separable(level, net.kinds[i]), net.kind_out[i])
        maps = g.node("Concat", [where, g.node("Sigmoid", [objectness]), g.node("Sigmoid", [kind])], axis=1)
        rows.append(g.node("Reshape", [maps, flat]))
    g.nodes.append(helper.make_node("Transpose", [g.node("Concat", rows, axis=2)], ["output"], perm=[0, 2, 1]))
    count = sum((width // s) * (height // s) for s in STRIDES)
    graph = helper.make_graph(
        g.nodes, "street",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, height, width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", count, numbers])], g.weights)
    model = helper.make_model(graph, producer_name="sightline", producer_version="1",
                              opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    for key, text in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
