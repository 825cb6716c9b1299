#include "infer/model_package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/uuid.h"
#include "infer/coco_labels.h"

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kSha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// Every key once, none with its default.
ModelPackage Sample() {
  ModelPackage package;
  ModelSpec& spec = package.spec;
  spec.name = "nano-1.5";
  spec.file = "model.onnx";
  spec.sha256 = kSha;
  spec.companion_file = "decoder.onnx";
  spec.companion_sha256 = std::string(kSha).replace(0, 1, "9");
  spec.family = "yolox";
  spec.layout = "raw";
  spec.labels = std::make_shared<LabelSet>(
      LabelSet{{"person", "no", "1.5", "a \"b\" \\c", "", "naïve", "- x: [", "#"}});
  spec.input = {.width = 416,
                .height = 320,
                .resize = ResizeMode::kLetterboxTopLeft,
                .interpolation = Interpolation::kArea,
                .channels = ChannelOrder::kBgr,
                .layout = TensorLayout::kNhwc,
                .dtype = DataType::kFloat16,
                .mean = {103.53f, 116.28f, 123.675f},
                .scale = {1 / 255.0f, 1 / 57.375f, 1e-7f},
                .pad_value = {114, 0, 255}};
  spec.input_name = "images:0";
  spec.batch = 0;
  spec.output_names = {"792", "out/put"};
  spec.confidence_threshold = 0.3f;
  spec.nms = {.kind = NmsSettings::Kind::kSoftGaussian,
              .iou_threshold = 0.65f,
              .sigma = 0.3f,
              .class_aware = false,
              .max_detections = 17};
  package.why = {"output \"x\" is [1,3549,85]: that is YOLOX", "second"};
  return package;
}

std::string ParseError(const std::string& yaml) {
  const auto package = ParseModelPackage(yaml, "m.yaml");
  EXPECT_FALSE(package.ok()) << yaml;
  return std::string(MessageOf(package.status()));
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ModelPackage, ComesBackAsItWasWritten) {
  const ModelPackage written = Sample();
  const std::string yaml = FormatModelPackage(written);
  const auto read = ParseModelPackage(yaml, "m.yaml");
  ASSERT_TRUE(read.ok()) << read.status() << "\n" << yaml;
  const ModelSpec& a = written.spec;
  const ModelSpec& b = read->spec;
  EXPECT_EQ(b.name, a.name);
  EXPECT_EQ(b.file, a.file);
  EXPECT_EQ(b.sha256, a.sha256);
  EXPECT_EQ(b.companion_file, a.companion_file);
  EXPECT_EQ(b.companion_sha256, a.companion_sha256);
  EXPECT_EQ(b.family, a.family);
  EXPECT_EQ(b.layout, a.layout);
  EXPECT_EQ(b.labels->names, a.labels->names);
  EXPECT_EQ(b.input.width, a.input.width);
  EXPECT_EQ(b.input.height, a.input.height);
  EXPECT_EQ(b.input.resize, a.input.resize);
  EXPECT_EQ(b.input.interpolation, a.input.interpolation);
  EXPECT_EQ(b.input.channels, a.input.channels);
  EXPECT_EQ(b.input.layout, a.input.layout);
  EXPECT_EQ(b.input.dtype, a.input.dtype);
  EXPECT_EQ(b.input.mean, a.input.mean);  // to the last bit
  EXPECT_EQ(b.input.scale, a.input.scale);
  EXPECT_EQ(b.input.pad_value, a.input.pad_value);
  EXPECT_EQ(b.input_name, a.input_name);
  EXPECT_EQ(b.batch, a.batch);
  EXPECT_EQ(b.output_names, a.output_names);
  EXPECT_EQ(b.confidence_threshold, a.confidence_threshold);
  EXPECT_EQ(b.nms.kind, a.nms.kind);
  EXPECT_EQ(b.nms.iou_threshold, a.nms.iou_threshold);
  EXPECT_EQ(b.nms.sigma, a.nms.sigma);
  EXPECT_EQ(b.nms.class_aware, a.nms.class_aware);
  EXPECT_EQ(b.nms.max_detections, a.nms.max_detections);
  EXPECT_EQ(read->why, written.why);
  EXPECT_EQ(FormatModelPackage(*read), yaml);
}

TEST(ModelPackage, ReasonsMayHoldAnything) {
  ModelPackage package = Sample();
  package.why = {"tab\there\nand line", ""};
  const auto read = ParseModelPackage(FormatModelPackage(package), "m.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->why, ElementsAre("tab here and line", ""));
}

TEST(ModelPackage, ErrorsNameThePlaceAndTheNearestKey) {
  const std::string good = FormatModelPackage(Sample());
  EXPECT_EQ(ParseError(Replaced(good, "  width: 416", "  widht: 416")),
            "m.yaml:22:3: unknown key \"widht\", did you mean \"width\"?");
  EXPECT_THAT(ParseError(Replaced(good, "resize: letterbox_top_left", "resize: leterbox_center")),
              AllOf(StartsWith("m.yaml:24:11: "), HasSubstr("did you mean \"letterbox_center\"?")));
  EXPECT_THAT(ParseError(Replaced(good, "width: 416", "width: 0")),
              HasSubstr("whole number from 1 to 16384"));
  EXPECT_THAT(ParseError(Replaced(good, "width: 416", "width: \"416\"")),
              HasSubstr("whole number"));
  EXPECT_THAT(ParseError(Replaced(good, "width: 416", "width: 416.5")), HasSubstr("whole number"));
  EXPECT_THAT(ParseError(Replaced(good, "confidence: 0.3", "confidence: 30")),
              HasSubstr("number from 0 to 1"));
  EXPECT_THAT(ParseError(Replaced(good, "confidence: 0.3", "confidence: nan")),
              HasSubstr("number from 0 to 1"));
  EXPECT_THAT(ParseError(Replaced(good, "confidence: 0.3", "confidence: 0.3\nconfidence: 0.4")),
              HasSubstr("twice"));
  EXPECT_THAT(ParseError(Replaced(good, "class_aware: false", "class_aware: nope")),
              HasSubstr("true or false"));
  EXPECT_THAT(ParseError(Replaced(good, "family: yolox\n", "")),
              HasSubstr("\"family\" is missing"));
  EXPECT_THAT(ParseError(Replaced(good, "format: 1", "format: 2")), HasSubstr("newer"));
  EXPECT_THAT(ParseError(Replaced(good, "file: model.onnx", "file: ../model.onnx")),
              HasSubstr("own folder"));
  EXPECT_THAT(ParseError(Replaced(good, "[114, 0, 255]", "[114, 0]")), HasSubstr("three numbers"));
  EXPECT_THAT(ParseError(Replaced(good, "[114, 0, 255]", "[114, 0, 256]")), HasSubstr("0 to 255"));
  EXPECT_THAT(ParseError(Replaced(good, "1e-07]", "0]")), HasSubstr("black"));
  EXPECT_THAT(ParseError(Replaced(good, kSha, "abc")), HasSubstr("64 hexadecimal"));
  EXPECT_THAT(ParseError(Replaced(good, "  - person", "  - [person]")), HasSubstr("a text"));
  EXPECT_THAT(ParseError(Replaced(good, "person", "per\xffson")), HasSubstr("UTF-8"));
  EXPECT_THAT(ParseError(""), HasSubstr("keys with values"));
  EXPECT_THAT(ParseError("just words"), HasSubstr("keys with values"));
  EXPECT_THAT(ParseError(good + "---\n" + good), HasSubstr("a second YAML document"));
  (void)ParseError(",\n# a text in which the YAML library finds documents without end\n");
  EXPECT_THAT(ParseError("a: [1, 2"), StartsWith("m.yaml:1:"));
  EXPECT_THAT(ParseError(std::string(2 << 20, 'a')), HasSubstr("longer than"));
  (void)ParseError(std::string(100'000, '['));
}

TEST(ModelPackage, BorderGoesWithCenteredLetterbox) {
  ModelPackage package = Sample();
  package.spec.input.resize = ResizeMode::kLetterboxCenter;
  package.spec.input.border = 2;
  const std::string yaml = FormatModelPackage(package);
  const auto read = ParseModelPackage(yaml, "m.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->spec.input.border, 2);
  EXPECT_THAT(ParseError(Replaced(yaml, "border: 2", "border: -1")), HasSubstr("whole number"));
  EXPECT_THAT(ParseError(Replaced(yaml, "letterbox_center", "letterbox_top_left")),
              HasSubstr("letterbox_center\" only"));
}

TEST(ModelPackage, AnchorsComeBack) {
  ModelPackage package = Sample();
  package.spec.anchors = {10, 13.5f, 16, 30};
  package.spec.scale_xy = {1.05f, 1.2f};
  const std::string yaml = FormatModelPackage(package);
  const auto read = ParseModelPackage(yaml, "m.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->spec.anchors, package.spec.anchors);
  EXPECT_EQ(read->spec.scale_xy, package.spec.scale_xy);
  for (const char* wrong : {"[]", "[10, 0]", "[10, x]", "10", "[.inf, 3]"}) {
    EXPECT_THAT(ParseError(Replaced(yaml, "[10, 13.5, 16, 30]", wrong)), HasSubstr("number"))
        << wrong;
  }
}

TEST(ModelPackage, CropFromGoesWithCenterCrop) {
  ModelPackage package = Sample();
  package.spec.input.resize = ResizeMode::kCenterCrop;
  package.spec.input.crop_from = 256;
  package.spec.input.interpolation = Interpolation::kCubicAntialias;
  const std::string yaml = FormatModelPackage(package);
  const auto read = ParseModelPackage(yaml, "m.yaml");
  ASSERT_TRUE(read.ok()) << read.status() << "\n" << yaml;
  EXPECT_EQ(read->spec.input.resize, ResizeMode::kCenterCrop);
  EXPECT_EQ(read->spec.input.crop_from, 256);
  EXPECT_EQ(read->spec.input.interpolation, Interpolation::kCubicAntialias);
  for (const char* wrong : {"0", "-3", "16385", "256.0", "\"256\"", "none", "[256, 256]"}) {
    EXPECT_THAT(ParseError(Replaced(yaml, "crop_from: 256", std::string("crop_from: ") + wrong)),
                HasSubstr("a whole number from 1 to 16384"))
        << wrong;
  }
  EXPECT_THAT(ParseError(Replaced(yaml, "resize: center_crop", "resize: stretch")),
              AllOf(StartsWith("m.yaml:25:14: "), HasSubstr("\"resize: center_crop\" only")));
  EXPECT_THAT(ParseError(Replaced(yaml, "cubic_antialias", "cubic_antialiased")),
              HasSubstr("did you mean \"cubic_antialias\"?"));
  package.spec.input.crop_from = 0;  // as the input needs
  EXPECT_THAT(FormatModelPackage(package), Not(HasSubstr("crop_from")));
  package.spec.input.crop_from = 256;
  package.spec.input.resize = ResizeMode::kStretch;  // says nothing here
  EXPECT_TRUE(ParseModelPackage(FormatModelPackage(package), "m.yaml").ok());

  package = Sample();
  EXPECT_TRUE(SetInModelPackage("input.crop_from", "256", package).ok());
  EXPECT_TRUE(SetInModelPackage("input.resize", "center_crop", package).ok());
  EXPECT_EQ(package.spec.input.crop_from, 256);
  EXPECT_FALSE(SetInModelPackage("input.crop_from", "0", package).ok());
  package = Sample();
  EXPECT_FALSE(ApplyModelYaml("input: {crop_from: 256}", "m.yaml", "", package).ok());
  EXPECT_TRUE(
      ApplyModelYaml("input: {crop_from: 256, resize: center_crop}", "m.yaml", "", package).ok());
}

TEST(ModelPackage, AnyTextIsAnAnswer) {
  const std::string good = FormatModelPackage(Sample());
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string yaml = good;
    for (int k = 0; k < 3; ++k) yaml[random() % yaml.size()] = static_cast<char>(random());
    (void)ParseModelPackage(yaml, "m.yaml");
  }
}

TEST(ModelPackage, SetChangesOneValue) {
  ModelPackage package = Sample();
  EXPECT_TRUE(SetInModelPackage("confidence", "0.7", package).ok());
  EXPECT_EQ(package.spec.confidence_threshold, 0.7f);
  EXPECT_TRUE(SetInModelPackage("input.resize", "stretch", package).ok());
  EXPECT_EQ(package.spec.input.resize, ResizeMode::kStretch);
  EXPECT_TRUE(SetInModelPackage("input.pad", "[1, 2, 3]", package).ok());
  EXPECT_EQ(package.spec.input.pad_value[2], 3);
  EXPECT_TRUE(SetInModelPackage("nms.kind", "hard", package).ok());
  EXPECT_TRUE(SetInModelPackage("labels", "[a, b]", package).ok());
  EXPECT_THAT(package.spec.labels->names, ElementsAre("a", "b"));
  EXPECT_TRUE(SetInModelPackage("labels", "coco80", package).ok());
  EXPECT_EQ(package.spec.labels->names.size(), 80u);
  const std::string before = FormatModelPackage(package);
  EXPECT_THAT(std::string(MessageOf(SetInModelPackage("nms.iuo", "0.5", package))),
              AllOf(HasSubstr("--set nms.iuo=0.5"), HasSubstr("did you mean \"iou\"")));
  for (const char* key : {"input.width", "sha256", "file", "", ".", "input", "nms.", "a.b.c"}) {
    EXPECT_FALSE(SetInModelPackage(key, "-1", package).ok()) << key;
  }
  EXPECT_FALSE(SetInModelPackage("confidence", "[", package).ok());
  EXPECT_EQ(FormatModelPackage(package), before) << "a refusal changes nothing";
}

TEST(ModelPackage, APartialDescriptionChangesWhatItNames) {
  ModelPackage package = Sample();
  EXPECT_TRUE(ApplyModelYaml("input: {width: 64}\nnms:\n  iou: 0.2\nlabels: coco80\n", "m.yaml", "",
                             package)
                  .ok());
  EXPECT_EQ(package.spec.input.width, 64);
  EXPECT_EQ(package.spec.input.height, 320);
  EXPECT_EQ(package.spec.nms.iou_threshold, 0.2f);
  EXPECT_EQ(package.spec.labels->names.size(), 80u);
  EXPECT_EQ(MessageOf(ApplyModelYaml("input: {widht: 64}", "m.yaml", "", package)),
            "m.yaml:1:9: unknown key \"widht\", did you mean \"width\"?");
}

class PackageFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "package_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    Write("model.onnx", "bytes");
    package_ = Sample();
    package_.spec.sha256 = FileSha256(folder_ + "/model.onnx");
    Write("decoder.onnx", "more bytes");
    package_.spec.companion_sha256 = FileSha256(folder_ + "/decoder.onnx");
    Write("model.yaml", FormatModelPackage(package_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }
  std::string LoadError() {
    const auto package = LoadModelPackage(folder_);
    EXPECT_FALSE(package.ok());
    return std::string(MessageOf(package.status()));
  }
  std::string folder_;
  ModelPackage package_;
};

TEST_F(PackageFolderTest, LoadsWhatIsWhole) {
  const auto package = LoadModelPackage(folder_);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_EQ(package->spec.file, folder_ + "/model.onnx");
  EXPECT_EQ(package->spec.companion_file, folder_ + "/decoder.onnx");
}

TEST_F(PackageFolderTest, AChangedModelFileIsRefused) {
  Write("model.onnx", "Bytes");
  EXPECT_EQ(LoadModelPackage(folder_).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(LoadError(), HasSubstr("--replace"));
  EXPECT_TRUE(PeekModelPackage(folder_).ok()) << "lists do not read the model";
}

TEST_F(PackageFolderTest, LinksAndMissingFilesAreRefused) {
  std::filesystem::rename(folder_ + "/model.onnx", folder_ + "/real.onnx");
  EXPECT_THAT(LoadError(), HasSubstr("missing"));
  std::filesystem::create_symlink("real.onnx", folder_ + "/model.onnx");
  EXPECT_THAT(LoadError(), HasSubstr("no regular file"));
}

TEST_F(PackageFolderTest, HardLinksAreTakenInTheStoreAlone) {
  std::filesystem::create_hard_link(folder_ + "/model.onnx", folder_ + "/backup");
  EXPECT_THAT(LoadError(), AllOf(HasSubstr("model.onnx"), HasSubstr("hard link")));
  EXPECT_TRUE(LoadModelPackage(folder_, PackageOrigin::kStored).ok());
  std::filesystem::remove(folder_ + "/backup");
  EXPECT_TRUE(LoadModelPackage(folder_).ok());
  std::filesystem::create_hard_link(folder_ + "/model.yaml", folder_ + "/backup");
  EXPECT_THAT(LoadError(), AllOf(HasSubstr("model.yaml"), HasSubstr("hard link")));
}

// Or the lines of any file would be shown as class names.
TEST_F(PackageFolderTest, LabelsAndDescriptionAreNoLinks) {
  std::string yaml = FormatModelPackage(package_);
  const size_t begin = yaml.find("labels:\n"), end = yaml.find("input:\n");
  Write("model.yaml", yaml.replace(begin, end - begin, "labels: names.txt\n"));
  Write("secret", "cat\ndog\nbird\n");
  for (const PackageOrigin origin : {PackageOrigin::kForeign, PackageOrigin::kStored}) {
    std::filesystem::create_symlink("secret", folder_ + "/names.txt");
    EXPECT_THAT(LoadModelPackage(folder_, origin).status().message(), HasSubstr("no regular file"));
    std::filesystem::remove(folder_ + "/names.txt");
  }
  std::filesystem::rename(folder_ + "/secret", folder_ + "/names.txt");
  EXPECT_TRUE(LoadModelPackage(folder_).ok());
  Write("model.yaml", yaml.replace(yaml.find("names.txt"), 9, "../names.txt"));
  EXPECT_THAT(LoadError(), HasSubstr("own folder"));
  std::filesystem::rename(folder_ + "/model.yaml", folder_ + "/real.yaml");
  std::filesystem::create_symlink("real.yaml", folder_ + "/model.yaml");
  EXPECT_THAT(LoadError(), HasSubstr("no regular file"));
}

TEST_F(PackageFolderTest, ItsCompanionIsCheckedAsWell) {
  Write("decoder.onnx", "other bytes");
  EXPECT_EQ(LoadModelPackage(folder_).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::remove(folder_ + "/decoder.onnx");
  EXPECT_THAT(LoadError(), HasSubstr("decoder.onnx is missing"));
  package_.spec.companion_file = "../decoder.onnx";
  Write("model.yaml", FormatModelPackage(package_));
  EXPECT_THAT(LoadError(), HasSubstr("own folder"));
}

TEST_F(PackageFolderTest, LabelsFromAFile) {
  std::string yaml = FormatModelPackage(package_);
  const size_t begin = yaml.find("labels:\n"), end = yaml.find("input:\n");
  Write("model.yaml", yaml.replace(begin, end - begin, "labels: names.txt\n"));
  EXPECT_THAT(LoadError(), HasSubstr("names.txt"));
  Write("names.txt",
        "\xef\xbb\xbf"
        "cat\r\n\r\ndog\r\n\n");
  const auto package = LoadModelPackage(folder_);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_THAT(package->spec.labels->names, ElementsAre("cat", "", "dog"));
  Write("names.txt", "cat\n\x01\n");
  EXPECT_THAT(LoadError(), HasSubstr("names.txt:2:"));
  Write("names.txt", "\n\n");
  EXPECT_THAT(LoadError(), HasSubstr("no class names"));
}

TEST(CocoLabels, AreTheEighty) {
  EXPECT_EQ(CocoLabels()->names.size(), 80u);
  EXPECT_EQ(CocoLabels()->NameOf(0), "person");
  EXPECT_EQ(CocoLabels()->NameOf(79), "toothbrush");
  EXPECT_EQ(CocoLabels()->NameOf(80), "class 80");
}

}  // namespace
}  // namespace sightline
