#include "infer/onnx_batch.h"

#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "infer/onnx_file.h"
#include "infer/onnx_wire.h"

namespace sightline {
namespace {

using Field = WireReader::Field;
using Bytes = std::span<const uint8_t>;

constexpr uint64_t kMaxFileBytes = uint64_t{2} << 30;  // protobuf's own limit
constexpr std::string_view kBatchName = "sightline_batch";
constexpr int kReshapeWithInput = 5;  // opset from which on the shape is an input

// Field numbers of onnx.proto3.
constexpr uint32_t kModelGraph = 7;
constexpr uint32_t kGraphNode = 1, kGraphInitializer = 5, kGraphInput = 11, kGraphOutput = 12,
                   kGraphValueInfo = 13;
constexpr uint32_t kNodeInput = 1, kNodeOutput = 2, kNodeOpType = 4, kNodeAttribute = 5,
                   kNodeDomain = 7;
constexpr uint32_t kAttributeName = 1, kAttributeInt = 3, kAttributeTensor = 5;
constexpr uint32_t kTensorDims = 1, kTensorType = 2, kTensorInt64s = 7, kTensorName = 8,
                   kTensorRaw = 9;
constexpr uint32_t kValueName = 1, kValueType = 2, kTypeTensor = 1, kTensorTypeShape = 2,
                   kShapeDimension = 1, kDimensionValue = 1, kDimensionName = 2;
constexpr uint64_t kInt64 = 7;  // TensorProto.DataType

std::string_view Text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a rewriter makes of a field.
enum class Fate : uint8_t { kKept, kDropped, kReplaced, kDamaged };

// Copies `message` field by field. `change(field, content)` decides; where it says kReplaced,
// `content` is what the field (which holds bytes) now holds.
template <typename Change>
bool Rewrite(Bytes message, std::string& out, Change change) {
  std::string content;
  return ForEachField(message, [&](const Field& field) {
    content.clear();
    switch (field.is_bytes() ? change(field, content) : Fate::kKept) {
      case Fate::kDamaged:
        return false;
      case Fate::kDropped:
        return true;
      case Fate::kReplaced:
        AppendWireBytes(field.number, content, out);
        return true;
      case Fate::kKept:
        out += Text(field.whole);
        return true;
    }
    return false;
  });
}

Fate FateOf(bool whole) { return whole ? Fate::kReplaced : Fate::kDamaged; }

// Int64s of one dimension that hold a shape whose first entry is 1.
bool IsShapeOfOne(Bytes tensor) {
  uint64_t type = 0;
  size_t dimensions = 0;
  std::optional<int64_t> first;
  const bool whole = ForEachField(tensor, [&](const Field& field) {
    if (field.number == kTensorType && field.is_varint()) type = field.varint;
    if (field.number == kTensorDims) {
      // Packed or not; only how many matters.
      dimensions += field.is_varint() ? 1 : 0;
      for (const uint8_t byte : field.bytes) dimensions += (byte & 0x80) == 0 ? 1 : 0;
    }
    if (first) return true;
    if (field.number == kTensorInt64s) {
      uint64_t value = field.varint;
      size_t length = 0;
      if (field.is_bytes() && !ReadWireVarint(field.bytes, value, length)) return true;
      first = static_cast<int64_t>(value);
    } else if (field.number == kTensorRaw && field.is_bytes() && field.bytes.size() >= 8) {
      first = 0;
      for (int i = 7; i >= 0; --i) first = *first << 8 | field.bytes[static_cast<size_t>(i)];
    }
    return true;
  });
  return whole && type == kInt64 && dimensions == 1 && first == 1;
}

// A TensorProto for which IsShapeOfOne() holds, with 0 for the 1.
bool OpenShape(Bytes tensor, std::string& out) {
  bool done = false;
  return ForEachField(tensor, [&](const Field& field) {
    if (!done && field.number == kTensorInt64s && field.is_varint()) {
      AppendWireVarint(uint64_t{kTensorInt64s} << 3, out);
      AppendWireVarint(0, out);
      done = true;
    } else if (!done && field.number == kTensorInt64s && field.is_bytes()) {
      uint64_t value = 0;
      size_t length = 0;
      std::string packed;
      if (ReadWireVarint(field.bytes, value, length)) {
        packed.push_back(0);
        packed += Text(field.bytes.subspan(length));
        done = true;
      }
      AppendWireBytes(field.number, packed, out);
    } else if (!done && field.number == kTensorRaw && field.is_bytes() && field.bytes.size() >= 8) {
      std::string raw(Text(field.bytes));
      std::memset(raw.data(), 0, 8);
      AppendWireBytes(field.number, raw, out);
      done = true;
    } else {
      out += Text(field.whole);
    }
    return true;
  });
}

// The value of a field that a message has once; empty without.
std::string_view TextOf(Bytes message, uint32_t number) {
  std::string_view text;
  ForEachField(message, [&](const Field& field) {
    if (field.number == number && field.is_bytes()) text = field.text();
    return true;
  });
  return text;
}

struct Node {
  std::string_view op, domain;
  std::vector<std::string_view> inputs;
  std::string_view output;     // the first
  std::optional<Bytes> value;  // of a Constant
  bool allow_zero = false;     // a 0 in the shape of this Reshape is a 0
  bool standard() const { return domain.empty() || domain == "ai.onnx"; }
};

bool ReadNode(Bytes bytes, Node& node) {
  return ForEachField(bytes, [&](const Field& field) {
    if (!field.is_bytes()) return true;
    if (field.number == kNodeInput) node.inputs.push_back(field.text());
    if (field.number == kNodeOutput && node.output.empty()) node.output = field.text();
    if (field.number == kNodeOpType) node.op = field.text();
    if (field.number == kNodeDomain) node.domain = field.text();
    if (field.number != kNodeAttribute) return true;
    const std::string_view name = TextOf(field.bytes, kAttributeName);
    return ForEachField(field.bytes, [&](const Field& part) {
      if (name == "value" && part.number == kAttributeTensor && part.is_bytes()) {
        node.value = part.bytes;
      }
      if (name == "allowzero" && part.number == kAttributeInt && part.varint != 0) {
        node.allow_zero = true;
      }
      return true;
    });
  });
}

// What the graph itself (not the graphs within its nodes) says.
class Graph {
 public:
  bool Read(Bytes bytes) {
    return ForEachField(bytes, [&](const Field& field) {
      if (!field.is_bytes()) return true;
      if (field.number == kGraphInitializer) {
        constants_[TextOf(field.bytes, kTensorName)] = field.bytes;
        return true;
      }
      if (field.number != kGraphNode) return true;
      Node node;
      if (!ReadNode(field.bytes, node)) return false;
      if (node.standard() && node.op == "Constant" && node.value) {
        constants_[node.output] = *node.value;
      }
      nodes_.push_back(std::move(node));
      return true;
    });
  }

  bool IsConstant(std::string_view name) const { return constants_.contains(name); }

  // Of the constants that hold the batch of a picture's Reshape, and are used for nothing else.
  void FindShapes() {
    std::set<std::string_view> others;
    for (const Node& node : nodes_) {
      const bool reshape = node.standard() && node.op == "Reshape" && node.inputs.size() == 2 &&
                           !node.allow_zero && !IsConstant(node.inputs[0]);
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const auto constant = constants_.find(node.inputs[i]);
        if (constant == constants_.end()) continue;
        if (reshape && i == 1 && IsShapeOfOne(constant->second)) {
          shapes_.insert(constant->first);
        } else {
          others.insert(constant->first);
        }
      }
    }
    for (const std::string_view name : others) shapes_.erase(name);
  }
  bool HoldsBatch(std::string_view constant) const { return shapes_.contains(constant); }
  int shapes() const { return static_cast<int>(shapes_.size()); }

 private:
  std::vector<Node> nodes_;
  std::map<std::string_view, Bytes> constants_;
  std::set<std::string_view> shapes_;
};

bool IsOne(Bytes dimension) {
  uint64_t value = 0;
  ForEachField(dimension, [&](const Field& field) {
    if (field.number == kDimensionValue && field.is_varint()) value = field.varint;
    return true;
  });
  return value == 1;
}

// A ValueInfoProto whose dimension 0, where it is 1, is the batch.
bool OpenValue(Bytes value, std::string& out) {
  return Rewrite(value, out, [](const Field& field, std::string& type) {
    if (field.number != kValueType) return Fate::kKept;
    return FateOf(Rewrite(field.bytes, type, [](const Field& kind, std::string& tensor) {
      if (kind.number != kTypeTensor) return Fate::kKept;
      return FateOf(Rewrite(kind.bytes, tensor, [](const Field& part, std::string& shape) {
        if (part.number != kTensorTypeShape) return Fate::kKept;
        bool first = true;
        return FateOf(Rewrite(part.bytes, shape, [&](const Field& dim, std::string& batch) {
          if (dim.number != kShapeDimension || !std::exchange(first, false)) return Fate::kKept;
          if (!IsOne(dim.bytes)) return Fate::kKept;
          // What else a dimension holds (its denotation) stays.
          const bool whole = ForEachField(dim.bytes, [&](const Field& entry) {
            if (entry.number > kDimensionName) batch += Text(entry.whole);
            return true;
          });
          AppendWireBytes(kDimensionName, kBatchName, batch);
          return FateOf(whole);
        }));
      }));
    }));
  });
}

bool OpenNode(Bytes node, std::string& out) {
  return Rewrite(node, out, [](const Field& field, std::string& attribute) {
    if (field.number != kNodeAttribute) return Fate::kKept;
    if (TextOf(field.bytes, kAttributeName) != "value") return Fate::kKept;
    return FateOf(Rewrite(field.bytes, attribute, [](const Field& part, std::string& tensor) {
      return part.number == kAttributeTensor ? FateOf(OpenShape(part.bytes, tensor)) : Fate::kKept;
    }));
  });
}

bool OpenGraph(Bytes bytes, const Graph& graph, std::string& out) {
  return Rewrite(bytes, out, [&](const Field& field, std::string& content) {
    switch (field.number) {
      case kGraphInput:
        // Weights among the inputs have no batch.
        if (graph.IsConstant(TextOf(field.bytes, kValueName))) return Fate::kKept;
        return FateOf(OpenValue(field.bytes, content));
      case kGraphOutput:
        return FateOf(OpenValue(field.bytes, content));
      case kGraphValueInfo:
        return Fate::kDropped;
      case kGraphInitializer:
        if (!graph.HoldsBatch(TextOf(field.bytes, kTensorName))) return Fate::kKept;
        return FateOf(OpenShape(field.bytes, content));
      case kGraphNode: {
        Node node;
        if (!ReadNode(field.bytes, node)) return Fate::kDamaged;
        const bool constant = node.standard() && node.op == "Constant" && node.value;
        if (!constant || !graph.HoldsBatch(node.output)) return Fate::kKept;
        return FateOf(OpenNode(field.bytes, content));
      }
      default:
        return Fate::kKept;
    }
  });
}

absl::Status CheckShapes(const OnnxFileInfo& info) {
  for (const TensorInfo& input : info.inputs) {
    if (input.shape.empty() || input.shape[0] == 1) continue;
    if (input.shape[0] == -1) return FailedPrecondition("its batch is open already");
    return FailedPrecondition("its input {} does not begin with a batch of 1", ToString(input));
  }
  for (const TensorInfo& output : info.outputs) {
    if (output.shape.empty() || output.shape[0] == 1 || output.shape[0] == -1) continue;
    return FailedPrecondition("its output {} does not begin with a batch of 1", ToString(output));
  }
  if (info.inputs.empty() || info.inputs[0].shape.size() < 2) {
    return FailedPrecondition("its input has no batch");
  }
  if (info.opset < kReshapeWithInput) {
    return FailedPrecondition("it is of opset {}, from before the shape of a Reshape was an input",
                              info.opset);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OpenedBatch> OpenBatch(std::span<const uint8_t> model, std::string_view name) {
  SL_ASSIGN_OR_RETURN(const OnnxFileInfo info, InspectOnnxBytes(model, name));
  SL_RETURN_IF_ERROR(CheckSelfContained(info));
  SL_RETURN_IF_ERROR(CheckShapes(info));
  OpenedBatch opened;
  opened.model.reserve(model.size());
  int graphs = 0;
  const bool whole = Rewrite(model, opened.model, [&](const Field& field, std::string& content) {
    if (field.number != kModelGraph) return Fate::kKept;
    Graph graph;
    ++graphs;
    if (!graph.Read(field.bytes)) return Fate::kDamaged;
    graph.FindShapes();
    opened.reshapes += graph.shapes();
    return FateOf(OpenGraph(field.bytes, graph, content));
  });
  if (!whole || graphs != 1) return DataLoss("{} is cut short or damaged", name);
  return opened;
}

absl::StatusOr<int> OpenBatch(const std::string& in, const std::string& out) {
  SL_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(in, kMaxFileBytes));
  SL_ASSIGN_OR_RETURN(const OpenedBatch opened, OpenBatch(AsBytes(content), in));
  SL_RETURN_IF_ERROR(WriteWholeFile(out, opened.model));
  return opened.reshapes;
}

}  // namespace sightline
