#include "infer/onnx_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "infer/onnx_tensor_check.h"
#include "infer/onnx_wire.h"

namespace sightline {
namespace {

using Field = WireReader::Field;
using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxNames = 2'000'000;                      // read and made by all nodes; chosen
using Call = std::pair<std::string_view, std::string_view>;  // domain and operator

struct Node {
  std::string_view op, domain, name;
  std::vector<std::string_view> reads;  // also what graphs within it read from outside
  std::vector<std::string_view> makes;
};

struct GraphParts {
  std::vector<Node> nodes;
  std::set<std::string_view> inputs;
  std::set<std::string_view> weights;
  std::vector<std::string_view> outputs;
  bool Gives(std::string_view name) const {
    return inputs.contains(name) || weights.contains(name);
  }
};

struct Function {
  std::string_view domain, name;
  std::vector<Call> calls;  // of each node
};

class Checker : private OnnxTensorChecker {
 public:
  Checker(std::string_view file, int max_depth, size_t max_nodes)
      : OnnxTensorChecker(file), max_depth_(max_depth), max_nodes_(max_nodes) {}

  absl::Status Model(Bytes bytes) {
    bool graph_seen = false;
    SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
      if (!field.is_bytes()) return absl::OkStatus();
      if (field.number == 7) {  // graph
        if (std::exchange(graph_seen, true)) return Twice("graph");
        return TopGraph(field.bytes);
      }
      if (field.number == 20) {  // training_info: initialization = 1, algorithm = 2
        return EachField(field.bytes, [&](const Field& part) {
          return part.is_bytes() && part.number <= 2 ? TrainingGraph(part.bytes) : absl::OkStatus();
        });
      }
      return field.number == 25 ? FunctionBody(field.bytes) : absl::OkStatus();
    }));
    return CheckFunctions();
  }

 private:
  absl::Status CountName() {
    return ++names_ > kMaxNames ? TooMuch("more than 2,000,000 names") : absl::OkStatus();
  }

  absl::Status TopGraph(Bytes bytes) {
    std::vector<std::string_view> missing;
    SL_RETURN_IF_ERROR(Graph(bytes, 0, &calls_, &missing));
    if (missing.empty()) return absl::OkStatus();
    return Bad("{} is read, and nothing makes it", Quoted(missing[0]));
  }

  // Those of training read what the model's own graph makes, too.
  absl::Status TrainingGraph(Bytes bytes) {
    std::vector<std::string_view> outside;
    return Graph(bytes, 1, &calls_, &outside);
  }

  // `missing`: names that are read and not made here, for the graph around.
  absl::Status Graph(Bytes bytes, int depth, std::vector<Call>* calls,
                     std::vector<std::string_view>* missing) {
    if (depth > max_depth_) return TooMuch("graphs within graphs");
    GraphParts parts;
    SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
      if (!field.is_bytes()) return absl::OkStatus();
      switch (field.number) {
        case 1:  // node
          return ReadNode(field.bytes, depth, calls, &parts.nodes);
        case 5: {  // initializer
          std::string_view name;
          SL_RETURN_IF_ERROR(Tensor(field.bytes, &name));
          return Give(name, "weight", &parts.weights);
        }
        case 15: {  // sparse_initializer
          std::string_view name;
          SL_RETURN_IF_ERROR(Sparse(field.bytes, &name));
          return Give(name, "weight", &parts.weights);
        }
        case 11:  // input
          return Value(field.bytes,
                       [&](std::string_view name) { return Give(name, "input", &parts.inputs); });
        case 12:  // output
          return Value(field.bytes, [&](std::string_view name) {
            parts.outputs.push_back(name);
            return absl::OkStatus();
          });
        default:
          return absl::OkStatus();
      }
    }));
    return Connect(parts, missing);
  }

  // A weight may be listed among the inputs, but neither may be there twice.
  absl::Status Give(std::string_view name, std::string_view what, std::set<std::string_view>* to) {
    SL_RETURN_IF_ERROR(CountName());
    if (!to->insert(name).second) return Bad("the {} {} is there twice", what, Quoted(name));
    return absl::OkStatus();
  }

  template <typename Take>
  absl::Status Value(Bytes bytes, Take take) {  // ValueInfoProto: name = 1
    std::string_view name;
    SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) {
      if (field.number == 1 && field.is_bytes()) name = field.text();
      return absl::OkStatus();
    }));
    return take(name);
  }

  absl::Status ReadNode(Bytes bytes, int depth, std::vector<Call>* calls,
                        std::vector<Node>* nodes) {
    Node node;
    SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
      if (!field.is_bytes()) return absl::OkStatus();
      switch (field.number) {
        case 1:  // input; "" is one that is left out
          if (!field.bytes.empty()) node.reads.push_back(field.text());
          return CountName();
        case 2:  // output
          if (!field.bytes.empty()) node.makes.push_back(field.text());
          return CountName();
        case 3:
          node.name = field.text();
          return absl::OkStatus();
        case 4:
          node.op = field.text();
          return absl::OkStatus();
        case 5:
          return Attribute(field.bytes, depth, calls, &node);
        case 7:
          node.domain = field.text();
          return absl::OkStatus();
        default:
          return absl::OkStatus();
      }
    }));
    calls->emplace_back(node.domain, node.op);
    nodes->push_back(std::move(node));
    return absl::OkStatus();
  }

  absl::Status Attribute(Bytes bytes, int depth, std::vector<Call>* calls, Node* node) {
    bool tensor = false, graph = false, sparse = false;
    return EachField(bytes, [&](const Field& field) -> absl::Status {
      if (!field.is_bytes()) return absl::OkStatus();
      std::string_view name;
      switch (field.number) {
        case 5:  // t
          if (std::exchange(tensor, true)) return Twice("tensor of an attribute");
          return Tensor(field.bytes, &name);
        case 10:  // tensors
          return Tensor(field.bytes, &name);
        case 22:  // sparse_tensor
          if (std::exchange(sparse, true)) return Twice("sparse tensor of an attribute");
          return Sparse(field.bytes, &name);
        case 23:  // sparse_tensors
          return Sparse(field.bytes, &name);
        case 6:  // g
          if (std::exchange(graph, true)) return Twice("graph of an attribute");
          return Graph(field.bytes, depth + 1, calls, &node->reads);
        case 11:  // graphs
          return Graph(field.bytes, depth + 1, calls, &node->reads);
        default:
          return absl::OkStatus();
      }
    });
  }

  // Names made once, all that is read made here or left to the graph around, and no cycles.
  absl::Status Connect(const GraphParts& parts, std::vector<std::string_view>* missing) {
    std::map<std::string_view, size_t> maker;
    for (size_t i = 0; i < parts.nodes.size(); ++i) {
      for (const std::string_view name : parts.nodes[i].makes) {
        if (parts.Gives(name) || !maker.emplace(name, i).second) {
          return Bad("{} is made twice", Quoted(name));
        }
      }
    }
    std::set<std::string_view> outside;
    std::vector<std::vector<size_t>> readers(parts.nodes.size());
    std::vector<size_t> waits(parts.nodes.size(), 0);
    for (size_t i = 0; i < parts.nodes.size(); ++i) {
      for (const std::string_view name : parts.nodes[i].reads) {
        if (parts.Gives(name)) continue;
        const auto made = maker.find(name);
        if (made == maker.end()) {
          outside.insert(name);
        } else {
          readers[made->second].push_back(i);
          ++waits[i];
        }
      }
    }
    for (const std::string_view name : parts.outputs) {
      if (!parts.Gives(name) && !maker.contains(name)) outside.insert(name);
    }
    std::vector<size_t> ready;
    for (size_t i = 0; i < waits.size(); ++i) {
      if (waits[i] == 0) ready.push_back(i);
    }
    size_t done = 0;
    while (!ready.empty()) {
      const size_t node = ready.back();
      ready.pop_back();
      ++done;
      for (const size_t reader : readers[node]) {
        if (--waits[reader] == 0) ready.push_back(reader);
      }
    }
    if (done < parts.nodes.size()) {
      const auto stuck = std::ranges::find_if(waits, [](size_t w) { return w > 0; });
      const Node& node = parts.nodes[static_cast<size_t>(stuck - waits.begin())];
      return Bad("its graph goes in a circle at the {} node {}", Quoted(node.op),
                 Quoted(node.makes.empty() ? node.name : node.makes[0]));
    }
    for (size_t i = 0; i < outside.size(); ++i) SL_RETURN_IF_ERROR(CountName());
    missing->insert(missing->end(), outside.begin(), outside.end());
    return absl::OkStatus();
  }

  absl::Status FunctionBody(
      Bytes
          bytes) {  // name = 1, input = 4, output = 5, node = 7, domain = 10, attribute_proto = 11
    Function function;
    Node defaults;  // stands for the attributes' own graphs: what they read
    GraphParts parts;
    SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
      if (!field.is_bytes()) return absl::OkStatus();
      switch (field.number) {
        case 1:
          function.name = field.text();
          return absl::OkStatus();
        case 4:
          return Give(field.text(), "input", &parts.inputs);
        case 5:
          parts.outputs.push_back(field.text());
          return CountName();
        case 7:
          return ReadNode(field.bytes, 1, &function.calls, &parts.nodes);
        case 10:
          function.domain = field.text();
          return absl::OkStatus();
        case 11:
          return Attribute(field.bytes, 1, &function.calls, &defaults);
        default:
          return absl::OkStatus();
      }
    }));
    parts.nodes.push_back(std::move(defaults));
    std::vector<std::string_view> missing;
    SL_RETURN_IF_ERROR(Connect(parts, &missing));
    if (!missing.empty()) {
      return Bad("the function {} reads {}, and nothing makes it", Quoted(function.name),
                 Quoted(missing[0]));
    }
    functions_.push_back(std::move(function));
    return absl::OkStatus();
  }

  // Every call unfolds to the function's nodes.
  absl::Status CheckFunctions() {
    std::map<Call, size_t> by_name;
    for (size_t i = 0; i < functions_.size(); ++i) {
      if (!by_name.emplace(Call(functions_[i].domain, functions_[i].name), i).second) {
        return Bad("the function {} is there twice", Quoted(functions_[i].name));
      }
    }
    // Functions whose callees are all known, until none is left or what is left calls itself.
    std::vector<std::vector<size_t>> callers(functions_.size());
    std::vector<size_t> waits(functions_.size(), 0);
    std::vector<uint64_t> nodes(functions_.size(), 0);
    for (size_t i = 0; i < functions_.size(); ++i) {
      nodes[i] = functions_[i].calls.size();
      for (const Call& call : functions_[i].calls) {
        const auto callee = by_name.find(call);
        if (callee == by_name.end()) continue;
        callers[callee->second].push_back(i);
        ++waits[i];
      }
    }
    std::vector<size_t> ready;
    for (size_t i = 0; i < waits.size(); ++i) {
      if (waits[i] == 0) ready.push_back(i);
    }
    size_t done = 0;
    while (!ready.empty()) {
      const size_t function = ready.back();
      ready.pop_back();
      ++done;
      for (const size_t caller : callers[function]) {
        nodes[caller] = std::min<uint64_t>(nodes[caller] + nodes[function], max_nodes_ + 1);
        if (--waits[caller] == 0) ready.push_back(caller);
      }
    }
    if (done < functions_.size()) return Bad("a function of it calls itself");
    uint64_t unfolded = 0;
    for (const Call& call : calls_) {
      const auto callee = by_name.find(call);
      if (callee != by_name.end()) unfolded += nodes[callee->second];
      if (unfolded > max_nodes_) return TooMuch("its functions unfold to too many nodes");
    }
    return absl::OkStatus();
  }

  const int max_depth_;
  const size_t max_nodes_;
  size_t names_ = 0;
  std::vector<Function> functions_;
  std::vector<Call> calls_;  // of the model's own nodes
};

}  // namespace

absl::Status CheckOnnxStructure(std::span<const uint8_t> bytes, std::string_view name,
                                int max_depth, size_t max_nodes) {
  return Checker(name, max_depth, max_nodes).Model(bytes);
}

}  // namespace sightline
