// For tests and fuzzing: damaged and made-up variants of an ONNX file. The same seed gives the same
// bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "infer/onnx_tree.h"

namespace sightline::onnx_tree {

class OnnxMutator {
 public:
  enum Kind {
    kCut,
    kFlip,
    kLieAboutLength,
    kDimension,
    kCircle,
    kDoubleName,
    kNestGraphs,
    kResizeData,
    kHugeTensor,
    kExternalData,
    kElementType,
    kOpset,
    kDropInterface,
    kOperator,
    kAttribute,
    kMove,
    kWeightValues,
    kFunctions,
    kSparse,
    kKinds
  };
  static std::string_view NameOf(Kind kind) {
    constexpr std::string_view kNames[] = {
        "cut",          "flip",          "length",       "dimension",   "circle",
        "double name",  "nested graphs", "data resized", "huge tensor", "external",
        "element type", "opset",         "interface",    "operator",    "attribute",
        "moved",        "weight values", "functions",    "sparse"};
    return kNames[kind];
  }

  OnnxMutator(std::string_view model, uint64_t seed) : random_(seed) {
    Parse(model, kModel, &root_.children);
  }

  // One change of that kind; what the model has nothing for stays as it is.
  void Apply(Kind kind) {
    switch (kind) {
      case kCut:
        cut_ = true;
        break;
      case kFlip:
        flips_ = 1 + Below(8);
        break;
      case kLieAboutLength:
        if (Item* item = AnyBytes()) item->length_lie = Odd(item->Size());
        break;
      case kDimension:
        if (Item* item = Any(kDim)) {
          item->children = {Varint(1, Odd(4))};
        }
        if (Below(2) == 0) SetDims(AnyTensor());
        break;
      case kCircle:
        Circle();
        break;
      case kDoubleName:
        DoubleName();
        break;
      case kNestGraphs:
        Nest();
        break;
      case kResizeData:
        if (Item* raw = Find(AnyTensor(), 9)) raw->text.resize(Below(3) ? Below(64) : 0, '\1');
        break;
      case kHugeTensor:
        SetDims(AnyTensor());
        break;
      case kExternalData:
        External();
        break;
      case kElementType:
        if (Item* type = Find(Below(2) ? AnyTensor() : Any(kTensorType), Below(2) ? 2 : 1)) {
          type->varint = Below(4) ? Below(40) : Odd(7);
        }
        break;
      case kOpset:
        if (Item* opset = Any(kOpsetId)) {
          opset->children = {Bytes(1, Below(2) ? "" : "com.microsoft"), Varint(2, Odd(13))};
        }
        break;
      case kDropInterface:
        DropInterface();
        break;
      case kOperator:
        if (Item* op = Find(Any(kNode), 4)) op->text = AnyOperator();
        break;
      case kAttribute:
        Attribute();
        break;
      case kMove:
        Move();
        break;
      case kWeightValues:
        Weights();
        break;
      case kFunctions:
        Functions();
        break;
      case kSparse:
        Sparse();
        break;
      case kKinds:
        break;
    }
  }

  Kind AnyKind() { return static_cast<Kind>(Below(kKinds)); }
  uint64_t Below(uint64_t n) { return n == 0 ? 0 : random_() % n; }

  std::string Write() {
    std::string out;
    for (const Item& item : root_.children) item.Append(&out);
    if (cut_ && !out.empty()) out.resize(Below(out.size()));
    for (uint64_t i = 0; i < flips_ && !out.empty(); ++i) {
      out[Below(out.size())] ^= static_cast<char>(1 + Below(255));
    }
    return out;
  }

 private:
  using Item = OnnxItem;

  void Collect(Item& item, std::vector<Item*>* all) {
    all->push_back(&item);
    for (Item& child : item.children) Collect(child, all);
  }
  template <typename Wanted>
  Item* Choose(Wanted wanted) {
    std::vector<Item*> all;
    for (Item& child : root_.children) Collect(child, &all);
    std::erase_if(all, [&](Item* item) { return !wanted(*item); });
    return all.empty() ? nullptr : all[Below(all.size())];
  }
  Item* Any(Message message) {
    return Choose([&](const Item& item) { return item.message == message; });
  }
  Item* AnyBytes() {
    return Choose([](const Item& item) { return item.wire_type == 2; });
  }
  Item* AnyTensor() { return Any(kTensor); }
  static Item* Find(Item* in, uint32_t number) {
    if (in == nullptr) return nullptr;
    const auto found = std::ranges::find(in->children, number, &Item::number);
    return found == in->children.end() ? nullptr : &*found;
  }
  Item* TopGraph() { return Find(&root_, 7); }

  // A number that somebody did not think of.
  uint64_t Odd(uint64_t usual) {
    const uint64_t numbers[] = {0,
                                1,
                                usual + 1,
                                usual - 1,
                                2 * usual,
                                uint64_t{1} << 16,
                                uint64_t{1} << 20,
                                (uint64_t{1} << 31) - 1,
                                uint64_t{1} << 31,
                                uint64_t{1} << 32,
                                uint64_t{1} << 40,
                                uint64_t{1} << 62,
                                (uint64_t{1} << 63) - 1,
                                uint64_t{1} << 63,
                                ~uint64_t{0},
                                ~uint64_t{1}};
    return numbers[Below(std::size(numbers))];
  }

  void SetDims(Item* tensor) {
    if (tensor == nullptr) return;
    std::erase_if(tensor->children, [](const Item& item) { return item.number == 1; });
    for (uint64_t i = Below(5); i < 5; ++i) tensor->children.push_back(Varint(1, Odd(3)));
  }

  // A node reads what a later one makes.
  void Circle() {
    Item* const graph = Any(kGraph);
    if (graph == nullptr) return;
    std::vector<Item*> nodes;
    for (Item& item : graph->children) {
      if (item.message == kNode) nodes.push_back(&item);
    }
    if (nodes.empty()) return;
    const size_t early = Below(nodes.size()), late = early + Below(nodes.size() - early);
    Item *const in = Find(nodes[early], 1), *const out = Find(nodes[late], 2);
    if (in != nullptr && out != nullptr) in->text = out->text;
  }

  void DoubleName() {
    Item *const a = Any(kNode), *const b = Below(2) ? Any(kNode) : AnyTensor();
    Item *const from = Find(a, 2), *const to = Find(b, b != nullptr && b->message == kNode ? 2 : 8);
    if (from != nullptr && to != nullptr) to->text = Below(8) ? from->text : "";
  }

  void Nest() {
    Item* const graph = TopGraph();
    Item* const input = Find(graph, 11);
    Item* const name = Find(input, 1);
    if (name == nullptr) return;
    const auto identity = [&](const std::string& from, const std::string& to) {
      return Inner(1, kNode, {Bytes(1, from), Bytes(2, to), Bytes(4, "Identity")});
    };
    Item inner =
        Inner(6, kGraph,
              {identity(name->text, "leaf"), Bytes(2, "g"), Inner(12, kValue, {Bytes(1, "leaf")})});
    for (uint64_t depth = Below(30); depth > 0; --depth) {
      Item branch = inner;
      Item other = inner;
      const std::string made = "made" + std::to_string(depth);
      Item node = Inner(1, kNode,
                        {Bytes(1, name->text), Bytes(2, made), Bytes(4, Below(4) ? "If" : "Loop"),
                         Inner(5, kAttributeMessage,
                               {Bytes(1, "then_branch"), std::move(branch), Varint(20, 5)})});
      if (depth % 8 == 0) {
        node.children.push_back(Inner(5, kAttributeMessage,
                                      {Bytes(1, "else_branch"), std::move(other), Varint(20, 5)}));
      }
      inner =
          Inner(6, kGraph, {std::move(node), Bytes(2, "g"), Inner(12, kValue, {Bytes(1, made)})});
    }
    Item top = Inner(
        1, kNode,
        {Bytes(1, name->text), Bytes(2, "nested"), Bytes(4, "If"),
         Inner(5, kAttributeMessage, {Bytes(1, "then_branch"), std::move(inner), Varint(20, 5)})});
    graph->children.insert(graph->children.begin(), std::move(top));
  }

  void External() {
    Item* const tensor = AnyTensor();
    if (tensor == nullptr) return;
    const char* const places[] = {
        "/etc/passwd", "../../../etc/passwd", "weights.bin", "", "/proc/self/mem", "a/../../b"};
    const char* const place = places[Below(std::size(places))];
    tensor->children.push_back(Varint(14, Below(4) ? 1 : Odd(1)));
    if (Below(8) > 0) {
      tensor->children.push_back(Inner(13, kEntry, {Bytes(1, "location"), Bytes(2, place)}));
      tensor->children.push_back(
          Inner(13, kEntry, {Bytes(1, "offset"), Bytes(2, std::to_string(Odd(0)))}));
      tensor->children.push_back(
          Inner(13, kEntry, {Bytes(1, "length"), Bytes(2, std::to_string(Odd(16)))}));
    }
    if (Below(2)) {
      std::erase_if(tensor->children, [](const Item& item) { return item.number == 9; });
    }
  }

  void DropInterface() {
    Item* const graph = TopGraph();
    if (graph == nullptr) return;
    const uint32_t number = Below(2) ? 11 : 12;
    if (Below(3) == 0) {
      if (Item* const name = Find(Find(graph, number), 1)) name->text = Below(2) ? "" : "elsewhere";
    } else if (Below(2)) {
      std::erase_if(graph->children, [&](const Item& item) { return item.number == number; });
    } else if (Item* const value = Find(graph, number)) {
      std::erase_if(value->children, [](const Item& item) { return item.number == 2; });
    }
  }

  std::string AnyOperator() {
    const char* const operators[] = {"Loop",
                                     "If",
                                     "Scan",
                                     "Conv",
                                     "Reshape",
                                     "ConstantOfShape",
                                     "Expand",
                                     "Tile",
                                     "Resize",
                                     "RandomNormal",
                                     "Range",
                                     "NonMaxSuppression",
                                     "Gather",
                                     "GatherND",
                                     "Scatter",
                                     "ScatterND",
                                     "Slice",
                                     "Pad",
                                     "Split",
                                     "Concat",
                                     "Constant",
                                     "MaxUnpool",
                                     "LSTM",
                                     "SequenceEmpty",
                                     "SequenceAt",
                                     "OneHot",
                                     "TopK",
                                     "Unsqueeze",
                                     "Squeeze",
                                     "Transpose",
                                     "Einsum",
                                     "QLinearConv",
                                     "Optional",
                                     "CastLike",
                                     "Identity",
                                     "Nothing",
                                     "",
                                     "RoiAlign",
                                     "GridSample",
                                     "ConvTranspose",
                                     "MatMul",
                                     "DequantizeLinear",
                                     "StringSplit",
                                     "EyeLike",
                                     "CumSum",
                                     "DepthToSpace",
                                     "Upsample",
                                     "Clip",
                                     "BatchNormalization"};
    return operators[Below(std::size(operators))];
  }

  void Attribute() {
    Item* const node = Any(kNode);
    Item* const attribute = Any(kAttributeMessage);
    switch (Below(6)) {
      case 0:
        if (node != nullptr) {
          std::erase_if(node->children, [](const Item& item) { return item.number == 5; });
        }
        break;
      case 1:  // another type
        if (Item* const type = Find(attribute, 20)) type->varint = Below(20);
        break;
      case 2:
        if (attribute != nullptr) {
          for (Item& item : attribute->children) {
            if (item.number == 3 || (item.number == 8 && item.wire_type == 0)) item.varint = Odd(1);
            if (item.number == 8 && item.wire_type == 2) {
              for (char& byte : item.text) byte = static_cast<char>(Below(128));
            }
          }
        }
        break;
      case 3:
        if (attribute != nullptr && node != nullptr) node->children.push_back(Item(*attribute));
        break;
      case 4:
        if (Item* const name = Find(attribute, 1)) {
          const char* const names[] = {"axis",  "axes",  "pads", "strides", "kernel_shape", "group",
                                       "value", "shape", "perm", "to",      "dilations",    "body"};
          name->text = names[Below(std::size(names))];
        }
        break;
      default:
        if (node != nullptr) {
          const char* const names[] = {"axis", "group", "to", "allowzero", "auto_pad", "ceil_mode"};
          node->children.push_back(
              Inner(5, kAttributeMessage,
                    {Bytes(1, names[Below(std::size(names))]), Varint(3, Odd(1)), Varint(20, 2)}));
        }
    }
  }

  // A part of the tree goes, comes twice, or changes places with another.
  void Move() {
    Item* const parent =
        Choose([](const Item& item) { return item.message != kNone && !item.children.empty(); });
    if (parent == nullptr) return;
    std::vector<Item>& parts = parent->children;
    const size_t at = Below(parts.size()), other = Below(parts.size());
    switch (Below(4)) {
      case 0:
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 1:
        parts.push_back(Item(parts[at]));
        break;
      case 2:
        std::swap(parts[at], parts[other]);
        break;
      default:
        if (Item* const elsewhere = AnyBytes(); elsewhere != parent) {
          const uint32_t number = parts[at].number;
          const Item copy = *elsewhere;
          parts[at] = copy;
          parts[at].number = number;
        }
    }
  }

  // Shapes, axes and the like are weights of int64: other numbers in them make other tensors.
  void Weights() {
    Item* const tensor = Choose([](const Item& item) {
      if (item.message != kTensor) return false;
      return std::ranges::any_of(item.children, [](const Item& part) {
        return part.number == 2 && part.wire_type == 0 && (part.varint == 7 || part.varint == 6);
      });
    });
    if (Item* const raw = Find(tensor, 9)) {
      for (size_t at = 0; at + 8 <= raw->text.size(); at += 8) {
        const uint64_t number = Odd(4);
        for (size_t byte = 0; byte < 8; ++byte) {
          raw->text[at + byte] = static_cast<char>(number >> (8 * byte));
        }
      }
    } else if (Item* const any = Find(AnyTensor(), 9)) {
      for (char& byte : any->text) byte = static_cast<char>(Below(256));
    }
  }

  // Functions that call each other, in a circle or twice each.
  void Functions() {
    const uint64_t count = 1 + Below(40);
    const bool circle = Below(2) == 0;
    for (uint64_t i = 0; i < count; ++i) {
      const std::string name = "f" + std::to_string(i);
      const uint64_t next = i + 1 < count ? i + 1 : circle ? 0 : count;
      const std::string callee = next == count ? "Identity" : "f" + std::to_string(next);
      const std::string domain = next == count ? "" : "local";
      root_.children.push_back(Inner(
          25, kFunction,
          {Bytes(1, name), Bytes(4, "x"), Bytes(5, "y"),
           Inner(7, kNode, {Bytes(1, "x"), Bytes(2, "z"), Bytes(4, callee), Bytes(7, domain)}),
           Inner(7, kNode, {Bytes(1, "z"), Bytes(2, "y"), Bytes(4, callee), Bytes(7, domain)}),
           Inner(9, kOpsetId, {Bytes(1, ""), Varint(2, 13)}),
           Inner(9, kOpsetId, {Bytes(1, "local"), Varint(2, 1)}), Bytes(10, "local")}));
    }
    root_.children.push_back(Inner(8, kOpsetId, {Bytes(1, "local"), Varint(2, 1)}));
    if (Item* const node = Any(kNode)) {
      if (Item* const op = Find(node, 4)) op->text = "f0";
      node->children.push_back(Bytes(7, "local"));
    }
  }

  // A weight becomes a sparse one of any size.
  void Sparse() {
    Item* const graph = TopGraph();
    Item* const weight = Find(graph, 5);
    if (weight == nullptr) return;
    Item values = *weight;
    values.number = 1;
    Item indices = Inner(
        2, kTensor, {Varint(1, Below(3)), Varint(2, 7), Bytes(9, std::string(8 * Below(3), '\2'))});
    Item sparse = Inner(15, kSparseTensor, {std::move(values), std::move(indices)});
    for (uint64_t i = 1 + Below(4); i > 0; --i) sparse.children.push_back(Varint(3, Odd(4)));
    *weight = std::move(sparse);
  }

  std::mt19937_64 random_;
  Item root_;
  bool cut_ = false;
  uint64_t flips_ = 0;
};

// Between one and three changes of any kinds; `kind`, where given, says the first.
inline std::string MutatedOnnx(std::string_view model, uint64_t seed,
                               OnnxMutator::Kind kind = OnnxMutator::kKinds) {
  OnnxMutator mutator(model, seed);
  mutator.Apply(kind == OnnxMutator::kKinds ? mutator.AnyKind() : kind);
  for (uint64_t more = mutator.Below(3); more > 0; --more) mutator.Apply(mutator.AnyKind());
  return mutator.Write();
}

}  // namespace sightline::onnx_tree

namespace sightline {
using onnx_tree::MutatedOnnx;
using onnx_tree::OnnxMutator;
}  // namespace sightline
