#include "infer/onnx_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/whole_file.h"
#include "infer/onnx_check.h"
#include "infer/onnx_wire.h"
#include "infer/torchscript_file.h"

namespace sightline {
namespace {

using Field = WireReader::Field;
using Bytes = std::span<const uint8_t>;

// Chosen, not measured: larger than the vision models people have, small enough to bound the work
// and the memory that a hostile file can ask for.
constexpr uint64_t kMaxFileBytes = uint64_t{2} << 30;  // also protobuf's own limit
constexpr size_t kMaxParts = 100'000;                  // nodes, weights, inputs or properties
constexpr int kMaxDepth = 16;                          // of graphs within nodes within graphs
constexpr size_t kMaxDimensions = 64;

// Field numbers of onnx.proto3.
namespace model_field {
constexpr uint32_t kIrVersion = 1, kProducer = 2, kProducerVersion = 3, kGraph = 7, kOpset = 8,
                   kMetadata = 14, kTraining = 20, kFunctions = 25;
}
namespace graph_field {
constexpr uint32_t kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12,
                   kSparseInitializer = 15;
}
namespace node_field {
constexpr uint32_t kOpType = 4, kAttribute = 5, kDomain = 7;
}
namespace attribute_field {
constexpr uint32_t kTensor = 5, kGraph = 6, kTensors = 10, kGraphs = 11, kSparse = 22,
                   kSparses = 23;
}
namespace tensor_field {
constexpr uint32_t kName = 8, kExternalData = 13, kDataLocation = 14;
}
constexpr uint64_t kDataLocationExternal = 1;

struct Magic {
  size_t offset;
  std::string_view bytes;
  std::string_view what;
};
using namespace std::string_view_literals;
constexpr Magic kOtherFormats[] = {
    {4, "TFL3"sv,
     "a TensorFlow Lite model: OpenVINO runs it (./dev setup installs that), or convert it to "
     "ONNX, "
     "for example with tf2onnx"},
    {4, "ORTM"sv, "a model in ONNX Runtime's own format: use the .onnx file that it was made from"},
    {0, "\x89HDF"sv, "an HDF5 file (Keras): export the model to ONNX"},
    {0, "\x80\x02"sv, "a Python pickle (PyTorch checkpoint): export the model to ONNX"},
    {0, "GGUF"sv, "a GGUF model, which is a language model's format"},
    {0, "<?xml"sv, "an XML file (OpenVINO's .xml?): use the .onnx file that it was made from"},
    {0, "7767517\n"sv, "an ncnn parameter file: use the .onnx file that it was made from"},
    {0, "ptrt"sv, "a TensorRT engine: use the .onnx file that it was made from"},
    {0, "ftrt"sv, "a TensorRT engine: use the .onnx file that it was made from"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer, not the file itself: run git lfs pull"},
    {0, "<!DOCTYPE"sv, "a web page, not a model: the download went wrong"},
    {0, "<html"sv, "a web page, not a model: the download went wrong"},
    {0, "\x1f\x8b"sv, "a gzip archive: unpack it first"},
    {0, "\x89PNG"sv, "a PNG picture"},
    {0, "\xff\xd8\xff"sv, "a JPEG picture"},
    {0,
     "\x7f"
     "ELF"sv,
     "a program or library"},
};

std::string_view Text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a file that is not ONNX is, for people; empty when unknown.
std::string_view OtherFormat(Bytes bytes) {
  const std::string_view text = Text(bytes);
  if (text.starts_with("PK\x03\x04"sv)) {
    const TorchArchive kind = TorchArchiveOf(bytes);
    if (kind == TorchArchive::kTorchScript) {
      return "a TorchScript file: --backend torchscript runs it (docs/backends.md), or export the "
             "model with torch.onnx.export";
    }
    if (kind == TorchArchive::kCheckpoint) {
      return "a PyTorch checkpoint, a pickle, which is never opened here: export it, for example "
             "with Ultralytics' `yolo export model=FILE format=onnx`, or with torch.onnx.export";
    }
    // The names of a ZIP archive's first entries stand in the clear.
    const std::string_view head = text.substr(0, 4096);
    if (head.find("data.pkl") != head.npos || head.find("constants.pkl") != head.npos) {
      return "a PyTorch or TorchScript file that is cut short: fetch it again";
    }
    return "a ZIP archive: unpack it first";
  }
  for (const Magic& magic : kOtherFormats) {
    if (text.size() >= magic.offset && text.substr(magic.offset).starts_with(magic.bytes)) {
      return magic.what;
    }
  }
  if (text.size() > 9 && text[8] == '{' && text.substr(0, 4096).find("\"dtype\"") != text.npos) {
    return "a safetensors file, which holds weights alone: export the model to ONNX";
  }
  return {};
}

DataType FromOnnxElement(uint64_t element) {  // TensorProto.DataType
  switch (element) {
    case 1:
      return DataType::kFloat32;
    case 2:
      return DataType::kUint8;
    case 3:
      return DataType::kInt8;
    case 4:
      return DataType::kUint16;
    case 5:
      return DataType::kInt16;
    case 6:
      return DataType::kInt32;
    case 7:
      return DataType::kInt64;
    case 8:
      return DataType::kString;
    case 9:
      return DataType::kBool;
    case 10:
      return DataType::kFloat16;
    case 11:
      return DataType::kFloat64;
    case 12:
      return DataType::kUint32;
    case 13:
      return DataType::kUint64;
    case 16:
      return DataType::kBfloat16;
    default:
      return DataType::kOther;
  }
}

// Collects OnnxFileInfo; every method is false when the bytes are damaged or beyond the limits.
class Inspector {
 public:
  explicit Inspector(OnnxFileInfo& info) : info_(info) {}

  bool Model(Bytes bytes) {
    WireReader reader(bytes);
    Field field;
    while (reader.Next(field)) {
      if (!ModelField(field)) return false;
    }
    return reader.ok();
  }
  // Weights among the inputs can be told only when both are known.
  void Finish() {
    const std::unordered_set<std::string_view> weights(info_.initializers.begin(),
                                                       info_.initializers.end());
    std::vector<TensorInfo> inputs;
    for (TensorInfo& input : info_.inputs) {
      if (!weights.contains(input.name)) {
        inputs.push_back(std::move(input));
      } else if (info_.ir_version >= 4) {
        info_.weights_as_inputs.push_back(input.name);
      }
    }
    info_.inputs = std::move(inputs);
    info_.external_data.assign(external_.begin(), external_.end());
  }
  bool saw_graph() const { return saw_graph_; }
  bool too_much() const { return too_much_; }

 private:
  bool ModelField(const Field& field) {
    if (field.number == model_field::kIrVersion && field.is_varint()) {
      info_.ir_version = field.as_int64();
    }
    if (!field.is_bytes()) return true;
    switch (field.number) {
      case model_field::kProducer:
        info_.producer = field.text();
        return true;
      case model_field::kProducerVersion:
        info_.producer_version = field.text();
        return true;
      case model_field::kOpset:
        return Opset(field.bytes);
      case model_field::kMetadata:
        return Metadata(field.bytes);
      case model_field::kGraph:
        saw_graph_ = true;
        return Graph(field.bytes, 0);
      case model_field::kTraining:
        // TrainingInfoProto: initialization = 1 and algorithm = 2 are graphs.
        return ForEachField(field.bytes, [&](const Field& part) {
          return !part.is_bytes() || part.number > 2 || Graph(part.bytes, 1);
        });
      case model_field::kFunctions:
        // FunctionProto: node = 7, attribute_proto (defaults, which may hold tensors) = 11.
        return ForEachField(field.bytes, [&](const Field& part) {
          if (part.is_bytes() && part.number == 7) return Node(part.bytes, 1);
          return !part.is_bytes() || part.number != 11 || Attribute(part.bytes, 1);
        });
      default:
        return true;
    }
  }

  bool Count() {
    too_much_ |= ++parts_ > kMaxParts;
    return !too_much_;
  }

  bool Opset(Bytes bytes) {  // OperatorSetIdProto: domain = 1, version = 2
    std::string domain;
    int64_t version = 0;
    const bool ok = Count() && ForEachField(bytes, [&](const Field& field) {
                      if (field.number == 1 && field.is_bytes()) domain = field.text();
                      if (field.number == 2 && field.is_varint()) version = field.as_int64();
                      return true;
                    });
    if (domain.empty() || domain == "ai.onnx") {
      info_.opset = version;
    } else {
      info_.other_opsets[domain] = version;
    }
    return ok;
  }

  bool Metadata(Bytes bytes) {  // StringStringEntryProto: key = 1, value = 2
    std::string key, value;
    const bool ok = Count() && KeyValue(bytes, key, value);
    info_.metadata[key] = value;
    return ok;
  }

  static bool KeyValue(Bytes bytes, std::string& key, std::string& value) {
    return ForEachField(bytes, [&](const Field& field) {
      if (field.number == 1 && field.is_bytes()) key = field.text();
      if (field.number == 2 && field.is_bytes()) value = field.text();
      return true;
    });
  }

  // depth 0 is the model's own graph, whose inputs and weights count.
  bool Graph(Bytes bytes, int depth) {
    if (depth > kMaxDepth) return !(too_much_ = true);
    return ForEachField(bytes, [&](const Field& field) {
      if (!field.is_bytes()) return true;
      switch (field.number) {
        case graph_field::kName:
          if (depth == 0) info_.graph_name = field.text();
          return true;
        case graph_field::kNode:
          return Node(field.bytes, depth);
        case graph_field::kInitializer:
          return Tensor(field.bytes, depth == 0);
        case graph_field::kSparseInitializer:
          return Sparse(field.bytes, depth == 0);
        case graph_field::kInput:
          return depth > 0 || Value(field.bytes, info_.inputs);
        case graph_field::kOutput:
          return depth > 0 || Value(field.bytes, info_.outputs);
        default:
          return true;
      }
    });
  }

  bool Node(Bytes bytes, int depth) {
    std::string op, domain;
    const bool ok =
        Count() && ForEachField(bytes, [&](const Field& field) {
          if (!field.is_bytes()) return true;
          if (field.number == node_field::kOpType) op = field.text();
          if (field.number == node_field::kDomain) domain = field.text();
          return field.number != node_field::kAttribute || Attribute(field.bytes, depth);
        });
    if (!ok) return false;
    ++info_.op_counts[domain.empty() || domain == "ai.onnx" ? op : domain + "::" + op];
    return true;
  }

  bool Attribute(Bytes bytes, int depth) {
    return ForEachField(bytes, [&](const Field& field) {
      if (!field.is_bytes()) return true;
      switch (field.number) {
        case attribute_field::kTensor:
        case attribute_field::kTensors:
          return Tensor(field.bytes, false);
        case attribute_field::kGraph:
        case attribute_field::kGraphs:
          return Graph(field.bytes, depth + 1);
        case attribute_field::kSparse:
        case attribute_field::kSparses:
          return Sparse(field.bytes, false);
        default:
          return true;
      }
    });
  }

  bool Tensor(Bytes bytes, bool is_weight) {
    std::string name;
    bool external = false;
    std::string location;
    const bool ok = Count() && ForEachField(bytes, [&](const Field& field) {
                      if (field.number == tensor_field::kName && field.is_bytes())
                        name = field.text();
                      if (field.number == tensor_field::kDataLocation && field.is_varint()) {
                        external = field.varint == kDataLocationExternal;
                      }
                      if (field.number == tensor_field::kExternalData && field.is_bytes()) {
                        std::string key, value;
                        if (!KeyValue(field.bytes, key, value)) return false;
                        if (key == "location") location = value;
                      }
                      return true;
                    });
    if (!ok) return false;
    // Either sign counts: what a runtime makes of half an external tensor is not left to chance.
    if (external || !location.empty()) external_.insert(location);
    if (is_weight) info_.initializers.push_back(std::move(name));
    return true;
  }

  bool Sparse(Bytes bytes, bool is_weight) {  // SparseTensorProto: values = 1, indices = 2
    return ForEachField(bytes, [&](const Field& field) {
      if (!field.is_bytes() || field.number > 2) return true;
      return Tensor(field.bytes, is_weight && field.number == 1);
    });
  }

  bool Value(Bytes bytes, std::vector<TensorInfo>& values) {
    TensorInfo info;
    info.dtype = DataType::kOther;
    const bool ok = Count() && ForEachField(bytes, [&](const Field& field) {
                      if (field.number == 1 && field.is_bytes()) info.name = field.text();
                      return field.number != 2 || !field.is_bytes() || Type(field.bytes, info);
                    });
    values.push_back(std::move(info));
    return ok;
  }

  bool Type(Bytes bytes,
            TensorInfo& info) {  // TypeProto: tensor_type = 1 {elem_type = 1, shape = 2}
    return ForEachField(bytes, [&](const Field& type) {
      if (type.number != 1 || !type.is_bytes()) return true;
      return ForEachField(type.bytes, [&](const Field& field) {
        if (field.number == 1 && field.is_varint()) info.dtype = FromOnnxElement(field.varint);
        if (field.number != 2 || !field.is_bytes()) return true;
        return ForEachField(field.bytes, [&](const Field& dimension) {
          return dimension.number != 1 || !dimension.is_bytes() || Dimension(dimension.bytes, info);
        });
      });
    });
  }

  bool Dimension(Bytes bytes, TensorInfo& info) {  // dim_value = 1, dim_param = 2
    if (info.shape.size() >= kMaxDimensions) return !(too_much_ = true);
    int64_t size = -1;
    const bool ok = ForEachField(bytes, [&](const Field& field) {
      if (field.number == 1 && field.is_varint() && field.as_int64() > 0) size = field.as_int64();
      return true;
    });
    info.shape.push_back(size);
    return ok;
  }

  OnnxFileInfo& info_;
  std::set<std::string> external_;
  size_t parts_ = 0;
  bool saw_graph_ = false;
  bool too_much_ = false;
};

void AppendVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// The name of a ValueInfoProto.
std::string_view ValueName(Bytes bytes) {
  std::string_view name;
  ForEachField(bytes, [&](const Field& field) {
    if (field.number == 1 && field.is_bytes()) name = field.text();
    return true;
  });
  return name;
}

// Copies a GraphProto without the inputs in `drop`; every other field as it stands.
bool CopyGraphWithout(Bytes graph, const std::unordered_set<std::string_view>& drop,
                      std::string& out) {
  return ForEachField(graph, [&](const Field& field) {
    const bool is_input = field.number == graph_field::kInput && field.is_bytes();
    if (!is_input || !drop.contains(ValueName(field.bytes))) out += Text(field.whole);
    return true;
  });
}

// For terminals: a file may name its tensors with escape sequences.
std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

}  // namespace

std::string Describe(const OnnxFileInfo& info) {
  std::string text;
  for (size_t i = 0; i < info.inputs.size(); ++i) {
    text += (i > 0 ? ", " : "") + ToString(info.inputs[i]);
  }
  text += " -> ";
  for (size_t i = 0; i < info.outputs.size(); ++i) {
    text += (i > 0 ? ", " : "") + ToString(info.outputs[i]);
  }
  return Printable(std::move(text));
}

absl::StatusOr<OnnxFileInfo> InspectOnnxBytes(std::span<const uint8_t> bytes,
                                              std::string_view name) {
  if (bytes.empty()) return InvalidArgument("{} is empty, not an ONNX model", name);
  if (const std::string_view other = OtherFormat(bytes); !other.empty()) {
    return InvalidArgument("{} is not an ONNX model but {}", name, other);
  }
  OnnxFileInfo info;
  info.path = name;
  info.file_bytes = bytes.size();
  Inspector inspector(info);
  const bool whole = inspector.Model(bytes);
  if (inspector.too_much()) {
    return ResourceExhausted(
        "{} is beyond what a model may hold here ({} nodes, weights and "
        "properties, graphs {} deep)",
        name, kMaxParts, kMaxDepth);
  }
  // Most bytes make some valid protobuf for a while; an ONNX model starts with a sane version.
  const bool looks_like_onnx = info.ir_version > 0 && info.ir_version < 1000;
  if (!looks_like_onnx || (whole && !inspector.saw_graph())) {
    return InvalidArgument("{} is not an ONNX model: {}", name,
                           looks_like_onnx ? "it holds no graph" : "its bytes are something else");
  }
  if (!whole) {
    return DataLoss("{} is cut short or damaged: fetch it again ({} bytes are there)", name,
                    bytes.size());
  }
  SL_RETURN_IF_ERROR(CheckOnnxStructure(bytes, name, kMaxDepth, kMaxParts));
  inspector.Finish();
  return info;
}

absl::StatusOr<OnnxFileInfo> InspectOnnx(const std::string& path) {
  SL_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(path, kMaxFileBytes));
  return InspectOnnxBytes(AsBytes(content), path);
}

absl::Status CheckSelfContained(const OnnxFileInfo& info) {
  if (!info.has_external_data()) return absl::OkStatus();
  return InvalidArgument(
      "{}: the weights lie in other files (\"{}\"{}), which is not supported: save the model as "
      "one "
      "file, for example onnx.save(onnx.load(\"model.onnx\"), \"single.onnx\")",
      info.path, Printable(info.external_data[0]),
      info.external_data.size() > 1 ? fmt::format(" and {} more", info.external_data.size() - 1)
                                    : "");
}

absl::StatusOr<int> MendOnnx(const std::string& in, const std::string& out) {
  SL_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(in, kMaxFileBytes));
  SL_ASSIGN_OR_RETURN(const OnnxFileInfo info, InspectOnnxBytes(AsBytes(content), in));
  const std::unordered_set<std::string_view> drop(info.weights_as_inputs.begin(),
                                                  info.weights_as_inputs.end());
  if (drop.empty()) {
    SL_RETURN_IF_ERROR(WriteWholeFile(out, content));
    return 0;
  }
  std::string mended;
  mended.reserve(content.size());
  const bool ok = ForEachField(AsBytes(content), [&](const Field& field) {
    if (field.number != model_field::kGraph || !field.is_bytes()) {
      mended += Text(field.whole);
      return true;
    }
    std::string graph;
    graph.reserve(field.bytes.size());
    if (!CopyGraphWithout(field.bytes, drop, graph)) return false;
    AppendVarint(uint64_t{model_field::kGraph} << 3 | 2, mended);
    AppendVarint(graph.size(), mended);
    mended += graph;
    return true;
  });
  if (!ok) return DataLoss("{} is cut short or damaged", in);
  SL_RETURN_IF_ERROR(WriteWholeFile(out, mended));
  return static_cast<int>(drop.size());
}

}  // namespace sightline
