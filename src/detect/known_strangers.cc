#include "detect/known_strangers.h"

#include <algorithm>
#include <array>

namespace sightline {
namespace {

using Shape = std::vector<int64_t>;

bool AnyNamed(std::span<const TensorInfo> outputs, std::string_view part) {
  return std::ranges::any_of(
      outputs, [&](const TensorInfo& t) { return t.name.find(part) != std::string::npos; });
}

int64_t Last(const TensorInfo& t, size_t from_end = 1) {
  return t.shape.size() >= from_end ? t.shape[t.shape.size() - from_end] : -1;
}

size_t CountLast(std::span<const TensorInfo> outputs, int64_t last) {
  return std::ranges::count_if(outputs, [&](const TensorInfo& t) { return Last(t) == last; });
}

bool IsGrid(const TensorInfo& t, int width) {
  return t.shape.size() == 4 && t.shape[3] > 1 && t.shape[3] < width;
}

Stranger OneRank3(const Shape& s, int64_t cells, int64_t cells_p6) {
  const bool any_anchor_free = s[1] == cells || s[1] == cells_p6;
  if (s[1] == 3 * cells || s[1] == 3 * cells_p6) {
    return {"YOLOv5 or YOLOv7 ([batch, 3 anchors x cells, 5 + classes])", ""};
  }
  if (s[2] == cells || s[2] == cells_p6) {
    return {"YOLOv8, YOLOv9 or YOLO11 ([batch, 4 + classes, cells])", ""};
  }
  if (s[2] == 6 && (s[1] == -1 || s[1] <= 1000)) {
    return {"YOLOv10 or another model with its suppression in the graph ([batch, boxes, 6])", ""};
  }
  if (s[2] == 7 && s[0] <= 1) return {"a detector with its suppression in the graph ([.., 7])", ""};
  // NanoDet-Plus has a fourth grid of ceil(side / 64), which equals the P6 count for whole sides.
  if (s[1] > cells && s[1] < cells + cells / 16 && s[2] > 32) {
    return {"NanoDet-Plus ([batch, cells, classes + 32])", ""};
  }
  if (any_anchor_free && s[2] > 4) {
    return {"an anchor-free detector with one row a cell, such as YOLOv6", ""};
  }
  return {};
}

Stranger Two(std::span<const TensorInfo> o, int64_t cells) {
  const auto rank3 = [](const TensorInfo& t) { return t.shape.size() == 3; };
  if (!rank3(o[0])) return {};
  if (o[1].shape.size() == 4 && Last(o[0]) == cells) {
    return {"YOLOv8-seg or YOLO11-seg (rows and mask prototypes)", ""};
  }
  if (!rank3(o[1]) || o[0].shape[1] != o[1].shape[1] || CountLast(o, 4) == 0) return {};
  if (o[0].shape[1] == cells) return {"DAMO-YOLO or PP-YOLOE (scores and boxes a cell)", ""};
  if (o[0].shape[1] <= 1000)
    return {"DETR or RT-DETR (scores and boxes of some hundred queries)", ""};
  return {"an SSD detector (scores and boxes over priors) that is not Ultra-Light face", ""};
}

Stranger RawMaps(int width, std::span<const TensorInfo> o) {
  if (std::ranges::all_of(o, [](const TensorInfo& t) { return t.shape.size() == 5; })) {
    return {
        "YOLOv5 or YOLOv7 without its last layer ([batch, 3, rows, columns, 5 + classes] maps)",
        "export it whole, so that it has one output of rows, or describe it by `family: yolov5`, "
        "`layout: maps` and `anchors`"};
  }
  if (!std::ranges::all_of(o, [&](const TensorInfo& t) { return IsGrid(t, width); })) return {};
  const auto channels = [&](int64_t n) {
    return std::ranges::count_if(o, [&](const TensorInfo& t) { return t.shape[1] == n; });
  };
  if (o.size() == 6 && channels(12) == 2 && channels(3) == 2) {
    return {"YOLO-FastestV2 (maps of 12 box, 3 objectness and class channels at two strides)", ""};
  }
  if (o.size() >= 2 && o[0].shape[1] == o[1].shape[1] && o[0].shape[1] % 3 == 0) {
    return {
        "YOLOv3, YOLOv4 or YOLO-Fastest (anchor maps [batch, 3 x (5 + classes), rows, columns])",
        ""};
  }
  if (o.size() % 3 == 0 && channels(1) >= 3 && channels(4) >= 3) {
    return {"YOLOX or FCOS without its last layers (box, objectness and class maps a stride)",
            "export it whole, so that it has one output of rows"};
  }
  if (o.size() == 1) {
    if (o[0].shape[1] % 5 == 0) return {"YOLOv2 or Tiny YOLO (one anchor map)", ""};
    return {"a heat map or segmentation model (one map of the picture)", ""};
  }
  return {};
}

}  // namespace

int64_t CellsAtStrides(int width, int height, int levels) {
  int64_t cells = 0;
  for (int level = 0; level < levels; ++level) {
    cells += int64_t{width / (8 << level)} * (height / (8 << level));
  }
  return cells;
}

Stranger NameStranger(int width, int height, std::span<const TensorInfo> o) {
  if (o.empty()) return {};
  const int64_t cells = CellsAtStrides(width, height, 3);
  const int64_t cells_p6 = CellsAtStrides(width, height, 4);
  if (AnyNamed(o, "detection_boxes") || AnyNamed(o, "num_detections")) {
    return {"a detector with its suppression in the graph (TensorFlow's object detection API)", ""};
  }
  if (o.size() == 12 && CountLast(o, 1) == 6 && CountLast(o, 10) == 3) {
    return {"YuNet (class, objectness, box and landmark rows at three strides)", ""};
  }
  if (o.size() == 9 && CountLast(o, 4) == 3 && CountLast(o, 10) == 3) {
    return {"SCRFD (score, box and landmark rows at three strides)", ""};
  }
  if (o.size() == 3 && CountLast(o, 4) == 1 && CountLast(o, 2) == 1 && CountLast(o, 10) == 1) {
    return {"RetinaFace (boxes, scores and landmarks over priors)", ""};
  }
  if (o.size() % 2 == 0 && o.size() >= 6 && CountLast(o, 32) == o.size() / 2) {
    return {o.size() == 6 ? "NanoDet (class and 4 x 8 distance rows at three strides)"
                          : "PicoDet (class and 4 x 8 distance rows at four strides)",
            ""};
  }
  if (Stranger maps = RawMaps(width, o); !maps.name.empty()) return maps;
  if (o.size() == 1 && o[0].shape.size() == 3) return OneRank3(o[0].shape, cells, cells_p6);
  if (o.size() == 2) return Two(o, cells);
  if (o.size() == 1 && o[0].shape.size() == 2) {
    return {"a classifier or an embedding (one row of numbers a picture)", ""};
  }
  if (o.size() == 1 && o[0].shape.size() == 4) {
    return {"a heat map or segmentation model (one map of the picture)", ""};
  }
  return {};
}

}  // namespace sightline
