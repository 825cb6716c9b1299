#include "infer/onnx_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/whole_file.h"
#include "infer/onnx_file.h"
#include "infer/onnx_tree.h"

namespace sightline {
namespace {

using onnx_tree::Bytes;
using onnx_tree::Inner;
using onnx_tree::OnnxItem;
using onnx_tree::Varint;
using ::testing::HasSubstr;

OnnxItem Node(const std::string& op, const std::vector<std::string>& reads,
              const std::vector<std::string>& makes, const std::string& domain = "") {
  OnnxItem node = Inner(1, onnx_tree::kNode, {Bytes(4, op), Bytes(7, domain)});
  for (const std::string& name : reads) node.children.push_back(Bytes(1, name));
  for (const std::string& name : makes) node.children.push_back(Bytes(2, name));
  return node;
}

OnnxItem Value(uint32_t field, const std::string& name) {
  return Inner(field, onnx_tree::kValue, {Bytes(1, name)});
}

OnnxItem Tensor(const std::vector<uint64_t>& dims, uint64_t type, std::vector<OnnxItem> data) {
  OnnxItem tensor = Inner(5, onnx_tree::kTensor, {Varint(2, type), Bytes(8, "w")});
  for (const uint64_t d : dims) tensor.children.push_back(Varint(1, d));
  for (OnnxItem& item : data) tensor.children.push_back(std::move(item));
  return tensor;
}

OnnxItem Graph(std::vector<OnnxItem> parts) {
  parts.insert(parts.begin(), {Value(11, "x"), Value(12, "y")});
  return Inner(7, onnx_tree::kGraph, std::move(parts));
}

absl::Status Check(const std::vector<OnnxItem>& parts) {
  std::string bytes;
  Varint(1, 8).Append(&bytes);
  for (const OnnxItem& part : parts) part.Append(&bytes);
  return InspectOnnxBytes(AsBytes(bytes), "m.onnx").status();
}
absl::Status CheckGraph(std::vector<OnnxItem> parts) { return Check({Graph(std::move(parts))}); }
absl::Status CheckTensor(OnnxItem tensor) {
  return CheckGraph({Node("Add", {"x", "w"}, {"y"}), std::move(tensor)});
}

TEST(OnnxCheck, NodesInAnyOrderAreTaken) {
  EXPECT_TRUE(CheckGraph({Node("Relu", {"a"}, {"y"}), Node("Relu", {"x", ""}, {"a", ""})}).ok());
}

TEST(OnnxCheck, CirclesAreRefused) {
  const absl::Status self = CheckGraph({Node("Relu", {"y"}, {"y"})});
  EXPECT_EQ(self.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(self.message(), HasSubstr("circle at the \"Relu\" node \"y\""));
  const absl::Status long_way = CheckGraph(
      {Node("A", {"x", "c"}, {"a"}), Node("B", {"a"}, {"b"}), Node("C", {"b"}, {"c", "y"})});
  EXPECT_THAT(long_way.message(), HasSubstr("circle"));
}

TEST(OnnxCheck, NamesAreMadeOnceAndBeforeTheyAreRead) {
  EXPECT_THAT(CheckGraph({Node("A", {"x"}, {"y"}), Node("B", {"x"}, {"y"})}).message(),
              HasSubstr("\"y\" is made twice"));
  EXPECT_THAT(CheckGraph({Node("A", {"x"}, {"x"}), Node("B", {"x"}, {"y"})}).message(),
              HasSubstr("\"x\" is made twice"));
  EXPECT_THAT(CheckGraph({Node("A", {"z"}, {"y"})}).message(), HasSubstr("\"z\" is read"));
  EXPECT_THAT(CheckGraph({Node("A", {"x"}, {"z"})}).message(), HasSubstr("\"y\" is read"));
  EXPECT_THAT(CheckGraph({Node("A", {"x"}, {"y"}), Value(11, "x")}).message(),
              HasSubstr("input \"x\" is there twice"));
  EXPECT_THAT(Check({Graph({Node("A", {"x"}, {"y"})}), Graph({})}).message(), HasSubstr("twice"));
}

TEST(OnnxCheck, GraphsWithinNodesReadWhatIsAround) {
  const auto branch = [](std::vector<OnnxItem> parts) {
    return Inner(5, onnx_tree::kAttributeMessage,
                 {Bytes(1, "then_branch"), Inner(6, onnx_tree::kGraph, std::move(parts))});
  };
  OnnxItem outer = Node("If", {"x"}, {"y"});
  outer.children.push_back(branch({Node("Relu", {"a"}, {"inner"}), Value(12, "inner")}));
  EXPECT_TRUE(CheckGraph({Node("Relu", {"x"}, {"a"}), outer}).ok());
  EXPECT_THAT(CheckGraph({outer}).message(), HasSubstr("\"a\" is read"));
  // What the branch reads must not depend on the node that it is in.
  EXPECT_THAT(CheckGraph({Node("Relu", {"y"}, {"a"}), outer}).message(), HasSubstr("circle"));
}

TEST(OnnxCheck, TensorsAreAsLongAsTheySay) {
  const auto floats = [](size_t bytes) { return Bytes(9, std::string(bytes, 1)); };
  EXPECT_TRUE(CheckTensor(Tensor({2, 3}, 1, {floats(24)})).ok());
  EXPECT_TRUE(CheckTensor(Tensor({}, 1, {floats(4)})).ok()) << "one number";
  EXPECT_TRUE(CheckTensor(Tensor({0}, 1, {})).ok()) << "none";
  EXPECT_TRUE(CheckTensor(Tensor({3}, 21, {floats(2)})).ok()) << "4 bits each";
  EXPECT_TRUE(CheckTensor(Tensor({3}, 1, {Bytes(4, std::string(12, 0))})).ok()) << "packed";
  EXPECT_TRUE(CheckTensor(Tensor({2}, 7, {Varint(7, 1), Varint(7, 300)})).ok());
  EXPECT_TRUE(CheckTensor(Tensor({2}, 7, {Bytes(7, "\x01\xac\x02")})).ok());
  EXPECT_THAT(CheckTensor(Tensor({2, 3}, 1, {floats(23)})).message(), HasSubstr("23 bytes"));
  EXPECT_THAT(CheckTensor(Tensor({2, 3}, 1, {})).message(), HasSubstr("0 numbers"));
  EXPECT_THAT(CheckTensor(Tensor({3}, 7, {Bytes(7, "\x01\xac\x02")})).message(),
              HasSubstr("2 numbers"));
  EXPECT_THAT(CheckTensor(Tensor({2}, 99, {floats(2)})).message(), HasSubstr("unknown type 99"));
  EXPECT_THAT(CheckTensor(Tensor({~uint64_t{0}}, 1, {floats(4)})).message(),
              HasSubstr("dimension of -1"));
  EXPECT_THAT(CheckTensor(Tensor({2}, 1, {floats(8), floats(8)})).message(), HasSubstr("twice"));
}

TEST(OnnxCheck, FewBytesDoNotDeclareMuch) {
  for (const std::vector<uint64_t>& dims : {std::vector<uint64_t>{uint64_t{1} << 40},
                                            {1 << 20, 1 << 20},
                                            {0, uint64_t{1} << 62},
                                            {uint64_t{1} << 62, uint64_t{1} << 62, 4},
                                            std::vector<uint64_t>(65, 1)}) {
    EXPECT_EQ(CheckTensor(Tensor(dims, 1, {})).code(), absl::StatusCode::kResourceExhausted);
  }
  OnnxItem values = Tensor({1}, 1, {Bytes(9, "1234")});
  values.number = 1;
  OnnxItem indices = Tensor({1}, 7, {Bytes(9, "12345678")});
  indices.number = 2;
  const auto sparse = [&](uint64_t size) {
    return Inner(15, onnx_tree::kSparseTensor, {values, indices, Varint(3, size), Varint(3, size)});
  };
  EXPECT_TRUE(CheckTensor(sparse(64)).ok());
  EXPECT_EQ(CheckTensor(sparse(1 << 20)).code(), absl::StatusCode::kResourceExhausted);
}

TEST(OnnxCheck, FunctionsEndAndDoNotUnfoldWithoutEnd) {
  const auto function = [](const std::string& name, const std::string& callee) {
    std::vector<OnnxItem> parts = {Bytes(1, name), Bytes(4, "p"), Bytes(5, "q"), Bytes(10, "own")};
    for (OnnxItem node : {Node(callee, {"p"}, {"r"}, "own"), Node(callee, {"r"}, {"q"}, "own")}) {
      node.number = 7;
      parts.push_back(std::move(node));
    }
    return Inner(25, onnx_tree::kFunction, std::move(parts));
  };
  const OnnxItem graph = Graph({Node("f0", {"x"}, {"y"}, "own")});
  EXPECT_TRUE(Check({graph, function("f0", "Relu")}).ok());
  EXPECT_THAT(Check({graph, function("f0", "f1"), function("f1", "f0")}).message(),
              HasSubstr("calls itself"));
  std::vector<OnnxItem> parts = {graph};
  for (int i = 0; i < 10; ++i) {
    parts.push_back(function(fmt::format("f{}", i), fmt::format("f{}", i + 1)));
  }
  EXPECT_TRUE(Check(parts).ok()) << "1,000 nodes";
  for (int i = 10; i < 40; ++i) {
    parts.push_back(function(fmt::format("f{}", i), fmt::format("f{}", i + 1)));
  }
  EXPECT_EQ(Check(parts).code(), absl::StatusCode::kResourceExhausted) << "2 to the power of 40";
}

// A function's attributes have defaults, which are tensors like others.
TEST(OnnxCheck, DefaultsOfFunctionsAreLookedInto) {
  const auto model = [](OnnxItem tensor) {
    const OnnxItem attribute =
        Inner(11, onnx_tree::kAttributeMessage, {Bytes(1, "v"), std::move(tensor), Varint(20, 4)});
    OnnxItem node = Node("Relu", {"p"}, {"q"});
    node.number = 7;
    return std::vector<OnnxItem>{Graph({Node("f", {"x"}, {"y"}, "own")}),
                                 Inner(25, onnx_tree::kFunction,
                                       {Bytes(1, "f"), Bytes(4, "p"), Bytes(5, "q"),
                                        Bytes(10, "own"), std::move(node), attribute})};
  };
  EXPECT_TRUE(Check(model(Tensor({2}, 1, {Bytes(9, std::string(8, '\0'))}))).ok());
  EXPECT_FALSE(Check(model(Tensor({2}, 1, {Bytes(9, std::string(4, '\0'))}))).ok());
  std::string bytes;
  Varint(1, 8).Append(&bytes);
  for (const OnnxItem& part :
       model(Tensor({2}, 1,
                    {Inner(13, onnx_tree::kEntry, {Bytes(1, "location"), Bytes(2, "../secret")}),
                     Varint(14, 1)}))) {
    part.Append(&bytes);
  }
  const auto info = InspectOnnxBytes(AsBytes(bytes), "m.onnx");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_FALSE(CheckSelfContained(*info).ok());
}

TEST(OnnxCheck, RealFilesPass) {
  const char* const data = std::getenv("SIGHTLINE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "set SIGHTLINE_TEST_DATA to the folder with models/";
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(data) + "/models")) {
    if (entry.path().extension() != ".onnx") continue;
    const auto info = InspectOnnx(entry.path().string());
    EXPECT_TRUE(info.ok()) << info.status();
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace sightline
