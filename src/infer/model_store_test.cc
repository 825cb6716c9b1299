#include "infer/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/whole_file.h"
#include "infer/onnx_file.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
}

ModelPackage Package(const std::string& name) {
  ModelPackage package;
  package.spec.name = name;
  package.spec.family = "yolox";
  package.spec.labels = std::make_shared<LabelSet>(LabelSet{{"person"}});
  package.spec.input.width = package.spec.input.height = 8;
  package.spec.input_name = "images";
  package.spec.output_names = {"output"};
  return package;
}

// Keeps an environment variable as a test found it.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~ScopedEnv() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

class ModelStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "store_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    store_ = ModelStore(folder_ + "/deep/er/models");
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t EntriesInRoot() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(store_.root()), {}));
  }
  std::string folder_;
  ModelStore store_{""};
};

TEST_F(ModelStoreTest, FilesBesideAreKeptWithThePackage) {
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), false, {{"report.json", "{}\n"}}).ok());
  EXPECT_EQ(ReadWholeFile(store_.root() + "/m/report.json", 100).value(), "{}\n");
  EXPECT_TRUE(store_.Find("m").ok());
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), true).ok());
  EXPECT_FALSE(fs::exists(store_.root() + "/m/report.json")) << "replaced whole";
}

TEST_F(ModelStoreTest, AddsListsAndFinds) {
  EXPECT_TRUE(store_.List()->empty());
  const auto added = store_.Add(Package("tiny"), TestModel("conv"), false);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->weights_mended, 0);
  EXPECT_EQ(added->package.spec.file, store_.root() + "/tiny/model.onnx");
  EXPECT_FALSE(fs::is_symlink(added->package.spec.file));
  ASSERT_TRUE(store_.Add(Package("alpha"), TestModel("conv"), false).ok());
  const auto models = store_.List();
  ASSERT_TRUE(models.ok());
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[0].name, "alpha");
  EXPECT_EQ((*models)[1].package.spec.family, "yolox");
  const auto found = store_.Find("tiny");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.sha256, added->package.spec.sha256);
  EXPECT_EQ(EntriesInRoot(), 2u) << "no work folder is left";
}

TEST_F(ModelStoreTest, TakesACompanionWithIt) {
  ModelPackage package = Package("sam");
  package.spec.companion_file = TestModel("conv_weights_as_inputs");
  const auto added = store_.Add(package, TestModel("conv"), false);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->package.spec.companion_file, store_.root() + "/sam/decoder.onnx");
  EXPECT_TRUE(InspectOnnx(added->package.spec.companion_file)->weights_as_inputs.empty());
  EXPECT_TRUE(store_.Find("sam").ok()) << store_.Find("sam").status();
  package = Package("padim");
  package.spec.companion_file = folder_ + "/numbers";
  EXPECT_FALSE(store_.Add(package, TestModel("conv"), false).ok()) << "it is not there";
  EXPECT_EQ(EntriesInRoot(), 1u);
  std::ofstream(package.spec.companion_file) << "1 2 3";
  ASSERT_TRUE(store_.Add(package, TestModel("conv"), false).ok());
  EXPECT_EQ(store_.Find("padim")->spec.companion_file, store_.root() + "/padim/statistics.bin");
}

TEST_F(ModelStoreTest, MendsWhatItTakesIn) {
  const auto added = store_.Add(Package("m"), TestModel("conv_weights_as_inputs"), false);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->weights_mended, 2);
  EXPECT_TRUE(InspectOnnx(added->package.spec.file)->weights_as_inputs.empty());
  EXPECT_TRUE(store_.Find("m").ok()) << "the checksum is the mended file's";
}

TEST_F(ModelStoreTest, AnUnknownNameGetsTheNearest) {
  EXPECT_THAT(std::string(MessageOf(store_.Find("x").status())),
              AllOf(HasSubstr("which has none"), HasSubstr("sightline models add")));
  ASSERT_TRUE(store_.Add(Package("yolox"), TestModel("conv"), false).ok());
  EXPECT_EQ(store_.Find("yolxo").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(store_.Find("yolxo").status())),
              HasSubstr("did you mean \"yolox\"?"));
  EXPECT_THAT(std::string(MessageOf(store_.Find("people").status())), HasSubstr("which has yolox"));
  EXPECT_EQ(store_.Find("../yolox").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ModelStoreTest, ATakenNameIsKeptUnlessReplaced) {
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), false).ok());
  EXPECT_EQ(store_.Add(Package("m"), TestModel("dynamic"), false).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(InspectOnnx(store_.Find("m")->spec.file)->graph_name, "conv");
  const auto replaced = store_.Add(Package("m"), TestModel("dynamic"), true);
  ASSERT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(InspectOnnx(store_.Find("m")->spec.file)->graph_name, "dynamic");
  EXPECT_EQ(EntriesInRoot(), 1u);
}

TEST_F(ModelStoreTest, WhatCannotBeAddedLeavesNothing) {
  EXPECT_FALSE(store_.Add(Package("m"), TestModel("none"), false).ok());
  EXPECT_FALSE(store_.Add(Package("bad/name"), TestModel("conv"), false).ok());
  const auto external = store_.Add(Package("m"), TestModel("external_escape"), false);
  EXPECT_EQ(external.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(external.status())), HasSubstr("../../secret.bin"));
  EXPECT_FALSE(fs::exists(store_.root()));
  ModelPackage broken = Package("m");
  broken.spec.input.width = 0;
  EXPECT_FALSE(store_.Add(broken, TestModel("conv"), false).ok());
  EXPECT_EQ(EntriesInRoot(), 0u);
  std::ofstream(folder_ + "/file") << "x";
  EXPECT_FALSE(ModelStore(folder_ + "/file").Add(Package("m"), TestModel("conv"), false).ok());
}

TEST_F(ModelStoreTest, ABrokenPackageIsListedWithItsError) {
  ASSERT_TRUE(store_.Add(Package("good"), TestModel("conv"), false).ok());
  fs::create_directories(store_.root() + "/bad");
  std::ofstream(store_.root() + "/bad/model.yaml") << "format: 1\nnmae: x\n";
  std::ofstream(store_.root() + "/README") << "no folder";
  const auto models = store_.List();
  ASSERT_TRUE(models.ok());
  ASSERT_EQ(models->size(), 2u);
  EXPECT_THAT(std::string(MessageOf((*models)[0].status)), HasSubstr("did you mean \"name\"?"));
  EXPECT_TRUE((*models)[1].status.ok());
}

TEST_F(ModelStoreTest, Removes) {
  EXPECT_EQ(store_.Remove("m").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), false).ok());
  EXPECT_TRUE(store_.Remove("m").ok());
  EXPECT_EQ(store_.Find("m").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(EntriesInRoot(), 0u);
}

TEST_F(ModelStoreTest, AFolderOfAnotherNameIsRefused) {
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), false).ok());
  fs::rename(store_.root() + "/m", store_.root() + "/n");
  EXPECT_THAT(std::string(MessageOf(store_.Find("n").status())), HasSubstr("make them equal"));
}

TEST_F(ModelStoreTest, ForgottenWorkFoldersGo) {
  const fs::path old = store_.root() + "/.adding-old", fresh = store_.root() + "/.adding-new";
  fs::create_directories(old);
  fs::create_directories(fresh);
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(48));
  ASSERT_TRUE(store_.Add(Package("m"), TestModel("conv"), false).ok());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh)) << "somebody else may be at work there";
}

TEST_F(ModelStoreTest, AtOnceOneWinsAndReadersSeeWholePackages) {
  std::atomic<int> won{0};
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      const auto found = store_.Find("m");
      EXPECT_TRUE(found.ok() || found.status().code() == absl::StatusCode::kNotFound)
          << found.status();
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { won += store_.Add(Package("m"), TestModel("conv"), false).ok(); });
  }
  for (std::thread& thread : threads) thread.join();
  stop = true;
  reader.join();
  EXPECT_EQ(won, 1);
}

TEST_F(ModelStoreTest, FindsWhatCameWithTheProgramAndLeavesItThere) {
  const ModelStore program(folder_ + "/share");
  ASSERT_TRUE(program.Add(Package("street"), TestModel("conv"), false).ok());
  ASSERT_TRUE(program.Add(Package("own"), TestModel("conv"), false).ok());
  const ModelStore store(folder_ + "/mine", folder_ + "/share");
  ASSERT_EQ(store.List()->size(), 2u);
  EXPECT_TRUE((*store.List())[1].shipped);
  EXPECT_EQ(store.Find("street")->spec.file, folder_ + "/share/street/model.onnx");
  EXPECT_EQ(store.FolderOf("street"), folder_ + "/share/street");
  EXPECT_EQ(store.FolderOf("else"), folder_ + "/mine/else");
  EXPECT_EQ(store.Find("stret").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(store.Find("stret").status())), HasSubstr("\"street\""));

  // One of the same name in the store takes its place, until it goes.
  ASSERT_TRUE(store.Add(Package("own"), TestModel("conv"), false).ok());
  EXPECT_EQ(store.Find("own")->spec.file, folder_ + "/mine/own/model.onnx");
  ASSERT_EQ(store.List()->size(), 2u);
  EXPECT_FALSE((*store.List())[0].shipped);
  EXPECT_TRUE(store.Remove("own").ok());
  EXPECT_EQ(store.Find("own")->spec.file, folder_ + "/share/own/model.onnx");

  EXPECT_EQ(store.Remove("street").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(store.Remove("street"))), HasSubstr("came with the program"));
  EXPECT_TRUE(store.Find("street").ok());
  // Without a place for models of one's own they still serve.
  EXPECT_TRUE(ModelStore("", folder_ + "/share").Find("street").ok());
}

TEST(ModelStoreRoot, FollowsTheEnvironment) {
  const ScopedEnv home("HOME", "/home/u");
  {
    const ScopedEnv models("SIGHTLINE_MODELS", "/m/../models");
    EXPECT_EQ(ModelStore::Default().root(), "/models");
  }
  const ScopedEnv models("SIGHTLINE_MODELS", nullptr);
  {
    const ScopedEnv data("XDG_DATA_HOME", "/data");
    EXPECT_EQ(ModelStore::Default().root(), "/data/sightline/models");
  }
  const ScopedEnv relative("XDG_DATA_HOME", "data");
  EXPECT_EQ(ModelStore::Default().root(), "/home/u/.local/share/sightline/models");
  const ScopedEnv nowhere("HOME", nullptr);
  EXPECT_EQ(ModelStore::Default().List().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ModelName, FromAFile) {
  EXPECT_EQ(ModelNameFromFile("/tmp/YOLOX Nano.onnx"), "yolox_nano");
  EXPECT_EQ(ModelNameFromFile("a.b-c_d.onnx"), "a.b-c_d");
  EXPECT_EQ(ModelNameFromFile("__--x--.onnx"), "x");
  EXPECT_EQ(ModelNameFromFile("модель.onnx"), "model");
  EXPECT_EQ(ModelNameFromFile(std::string(300, 'a') + ".onnx").size(), 50u);
  for (const char* bad : {"", ".", "..", "-x", "a/b", "a b", "x.onnx", "ä"}) {
    EXPECT_FALSE(CheckModelName(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace sightline
