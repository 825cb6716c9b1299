// Model files that are damaged, cut, or made to hurt: every one of 1,000 and more variants of small
// models is taken the way of `sightline models add`, and is refused with words or runs. What the
// runtime makes of the rest happens in a child process, as there; that child may fall, we may not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "detect/hostile_model.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/onnx_mutator.h"

namespace sightline {
namespace {

// More than the small models take, less than what would hurt a machine.
constexpr ChildLimits kLimits = {.wall_ms = 20'000, .memory_bytes = int64_t{2} << 30};

std::vector<std::pair<std::string, std::string>> SmallModels() {
  std::vector<std::pair<std::string, std::string>> models;
  for (const auto& entry :
       std::filesystem::directory_iterator(SIGHTLINE_SOURCE_DIR "/tests/data/models")) {
    if (entry.path().extension() != ".onnx") continue;
    auto bytes = ReadWholeFile(entry.path().string(), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    if (bytes.ok()) models.emplace_back(entry.path().stem().string(), *std::move(bytes));
  }
  std::ranges::sort(models);
  return models;
}

// More of them, or others, for a longer look: SIGHTLINE_HOSTILE_SEEDS=1000 takes that many times 19
// for each model.
uint64_t Seeds() {
  const char* const more = std::getenv("SIGHTLINE_HOSTILE_SEEDS");
  return more == nullptr ? 5 : std::strtoull(more, nullptr, 10);
}

class HostileModels : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto backend = OnnxRuntimeBackend();
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *backend;
    std::string pattern = ::testing::TempDir() + "hostile_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  HostileResult Add(std::string_view bytes) {
    return AddHostileModel(bytes, folder_ + "/model.onnx", *backend_, kLimits);
  }
  InferenceBackend* backend_ = nullptr;
  std::string folder_;
};

TEST_F(HostileModels, TheGoodOnesRun) {
  for (const auto& [name, bytes] : SmallModels()) {
    const HostileResult result = Add(bytes);
    if (name.starts_with("external") || name == "sequence") continue;
    EXPECT_EQ(result.outcome, HostileOutcome::kRan) << name << ": " << result.status;
  }
}

TEST_F(HostileModels, EveryMutantIsRefusedWithWordsOrRuns) {
  std::map<std::string_view, std::map<HostileOutcome, int>> counts;
  std::map<HostileOutcome, int> all;
  const uint64_t seeds = Seeds();
  for (const auto& [name, bytes] : SmallModels()) {
    for (int kind = 0; kind < OnnxMutator::kKinds; ++kind) {
      for (uint64_t i = 0; i < seeds; ++i) {
        const uint64_t seed = i * OnnxMutator::kKinds + static_cast<uint64_t>(kind);
        const std::string mutant = MutatedOnnx(bytes, seed, static_cast<OnnxMutator::Kind>(kind));
        const HostileResult result = Add(mutant);
        ++counts[OnnxMutator::NameOf(static_cast<OnnxMutator::Kind>(kind))][result.outcome];
        ++all[result.outcome];
        if (result.outcome != HostileOutcome::kRan) {
          EXPECT_GT(result.status.message().size(), 10u) << name << " " << kind << " " << seed;
        }
        if (result.outcome == HostileOutcome::kDied) {
          const std::string kept =
              fmt::format("{}mutant_{}_{}_{}.onnx", ::testing::TempDir(), name,
                          OnnxMutator::NameOf(static_cast<OnnxMutator::Kind>(kind)), seed);
          std::ofstream(kept, std::ios::binary) << mutant;
          std::printf("the runtime died of %s: %s\n", kept.c_str(),
                      std::string(MessageOf(result.status)).c_str());
        }
      }
    }
  }
  const auto line = [](std::string_view name, std::map<HostileOutcome, int>& count) {
    std::printf("%-16s %6d %6d %6d %6d\n", std::string(name).c_str(),
                count[HostileOutcome::kRefusedByChecks], count[HostileOutcome::kRefusedByRuntime],
                count[HostileOutcome::kRan], count[HostileOutcome::kDied]);
  };
  std::printf("                 checks runtime   ran   died\n");
  for (auto& [name, count] : counts) line(name, count);
  line("all", all);
  // Otherwise the mutants prove nothing: neither the checks nor the runtime had work.
  EXPECT_GT(all[HostileOutcome::kRefusedByChecks], 0);
  EXPECT_GT(all[HostileOutcome::kRefusedByRuntime], 0);
  EXPECT_GT(all[HostileOutcome::kRan], 0);
}

}  // namespace
}  // namespace sightline
