// Truth of YOLO, Pascal VOC and COCO: the same pictures in each give the same boxes and figures, and
// what is malformed is said with file and line.
#include "evaluate/labelled_pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "evaluate/xml_tree.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

PictureAccess FakePictures(PictureSize size = {200, 100}) {
  return {.is_picture = [](const std::string& path) { return path.ends_with(".jpg"); },
          .size_of = [size](const std::string&) { return size; }};
}

class LabelledPicturesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void Put(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  std::string Path(const std::string& name = "") const { return (root_ / name).string(); }
  absl::StatusOr<LabelledPictures> Read(const std::string& name = "",
                                        const TruthChoice& choice = {}) const {
    return ReadLabelledPictures(Path(name), choice, FakePictures());
  }
  std::string ReadError(const std::string& name = "", const TruthChoice& choice = {}) const {
    return std::string(MessageOf(Read(name, choice).status()));
  }
  void PutYolo() const {
    Put("data.yaml", "path: .\nval: images/val\nnames: {0: person, 1: 'traffic light'}\n");
    Put("images/val/a.jpg", "");
    Put("images/val/b.jpg", "");
    Put("images/val/000007.jpg", "");
    Put("images/train/c.jpg", "");
    Put("labels/val/a.txt", "1 0.5 0.5 0.25 0.5\r\n\n0 0.1 0.1 0.1 0.1\n");
    Put("labels/val/000007.txt", "0 0.25 0.25 0.75 0.25 0.75 0.75\n");
    Put("labels/train/c.txt", "0 0.5 0.5 0.5 0.5\n");
  }

  fs::path root_;
};

void ExpectBox(const TrueBox& box, int32_t class_id, PlacedBox expected) {
  EXPECT_EQ(box.class_id, class_id);
  EXPECT_NEAR(box.box_px.x, expected.x, 1e-9);
  EXPECT_NEAR(box.box_px.y, expected.y, 1e-9);
  EXPECT_NEAR(box.box_px.width, expected.width, 1e-9);
  EXPECT_NEAR(box.box_px.height, expected.height, 1e-9);
}

TEST_F(LabelledPicturesTest, YoloTakesTheValidationPart) {
  PutYolo();
  const auto truth = Read();
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_EQ(truth->format, "YOLO");
  EXPECT_EQ(truth->class_names.at(1), "traffic light");
  ASSERT_EQ(truth->pictures.size(), 3u);
  EXPECT_EQ(truth->pictures[0].name, "000007.jpg");
  // The outline: a triangle, half of its box.
  ExpectBox(truth->pictures[0].truth.at(0), 0, {50, 25, 100, 50});
  EXPECT_NEAR(truth->pictures[0].truth[0].area_px2, 2500, 1e-9);
  ASSERT_EQ(truth->pictures[1].truth.size(), 2u);
  ExpectBox(truth->pictures[1].truth[0], 1, {75, 25, 50, 50});
  EXPECT_TRUE(truth->pictures[2].truth.empty());
  EXPECT_THAT(truth->remarks,
              ElementsAre(HasSubstr("\"val\""), HasSubstr("1 pictures have no label")));
}

TEST_F(LabelledPicturesTest, YoloPartsAndLists) {
  PutYolo();
  EXPECT_EQ(Read("", {.split = "all"})->pictures.size(), 4u);
  EXPECT_THAT(ReadError("", {.split = "test"}), HasSubstr("has no \"test\""));
  Put("list.txt", "./images/train/c.jpg\n");
  Put("data.yaml", "train: list.txt\nval: images/gone\nnames: [person, light]\n");
  EXPECT_EQ(Read("", {.split = "train"})->pictures.size(), 1u);
  EXPECT_EQ(Read("data.yaml", {.split = "train"})->pictures.size(), 1u);
  EXPECT_EQ(Read()->pictures.size(), 4u) << "val is not there";
  EXPECT_THAT(ReadError("", {.split = "val"}), HasSubstr("images/gone"));
}

TEST_F(LabelledPicturesTest, YoloBesideThePictures) {
  Put("classes.txt", "cat\ndog\n");
  Put("a.jpg", "");
  Put("a.txt", "1 0.5 0.5 1 1\n");
  const auto truth = Read();
  ASSERT_TRUE(truth.ok()) << truth.status();
  ExpectBox(truth->pictures.at(0).truth.at(0), 1, {0, 0, 200, 100});
}

TEST_F(LabelledPicturesTest, YoloKeyPoints) {
  PutYolo();
  Put("data.yaml", "kpt_shape: [2, 3]\nval: images/val\nnames: [person, light]\n");
  Put("labels/val/a.txt", "0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 0\n");
  Put("labels/val/000007.txt", "");
  ExpectBox(Read()->pictures.at(1).truth.at(0), 0, {50, 25, 100, 50});
  Put("labels/val/a.txt", "0 0.5 0.5 0.5 0.5 0.1 0.1\n");
  EXPECT_THAT(ReadError(), HasSubstr("a.txt:1: 7 values where 5, or 11 with key points"));
}

TEST_F(LabelledPicturesTest, YoloErrorsNameFileAndLine) {
  PutYolo();
  const auto error = [&](const std::string& line) {
    Put("labels/val/a.txt", "0 0.5 0.5 0.5 0.5\n" + line + "\n");
    return ReadError();
  };
  EXPECT_THAT(error("0 0.5 0.5 0.5"), HasSubstr("labels/val/a.txt:2: 4 values"));
  EXPECT_THAT(error("2 0.5 0.5 0.5 0.5"), HasSubstr("a.txt:2: class 2 is none of 0 to 1"));
  EXPECT_THAT(error("-1 0.5 0.5 0.5 0.5"), HasSubstr("class -1"));
  EXPECT_THAT(error("0.5 0.5 0.5 0.5 0.5"), HasSubstr("class 0.5"));
  EXPECT_THAT(error("0 nan 0.5 0.5 0.5"), HasSubstr("value 2, \"nan\", is no number"));
  EXPECT_THAT(error("0 inf 0.5 0.5 0.5"), HasSubstr("is no number"));
  EXPECT_THAT(error("0 120 40 30 30"), HasSubstr("pixels have to be divided"));
  EXPECT_THAT(error("0 0.5 0.5 -0.5 0.5"), HasSubstr("no fraction"));
  EXPECT_THAT(error("0 0.5 0.5 0.5 0.5 0.9"), HasSubstr("these are results"));
  Put("data.yaml", "names: [a\n");
  EXPECT_THAT(ReadError(), HasSubstr("data.yaml:"));
  Put("data.yaml", "val: images/val\n");
  EXPECT_THAT(ReadError(), HasSubstr("no \"names\""));
}

TEST_F(LabelledPicturesTest, YoloWithoutLabelsIsRefused) {
  Put("data.yaml", "names: [a]\n");
  Put("images/a.jpg", "");
  EXPECT_THAT(ReadError(), HasSubstr("none of the 1 pictures has a label file"));
  fs::remove(root_ / "images/a.jpg");
  EXPECT_THAT(ReadError(), HasSubstr("no picture in it"));
}

TEST_F(LabelledPicturesTest, YoloResults) {
  PutYolo();
  Put("runs/labels/a.txt", "1 0.5 0.5 0.25 0.5 0.75\n0 0.1 0.1 0.1 0.1 0.5\n");
  const auto truth = Read();
  const auto read = ReadFoundBoxes(*truth, Path("runs"));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->found[1].size(), 2u);
  EXPECT_EQ(read->found[1][0].confidence, 0.75);
  const auto report = CompareBoxes(*truth, read->found);
  EXPECT_NEAR(*report->map, (1 + 51.0 / 101) / 2, 1e-9) << "of one class all, of the other half";
  Put("runs/labels/a.txt", "1 0.5 0.5 0.25 0.5\n");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("runs")).status()),
              HasSubstr("a.txt:1: five values and no confidence"));
  Put("runs/labels/z.txt", "");
  fs::remove(root_ / "runs/labels/a.txt");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("runs")).status()),
              HasSubstr("no picture \"z\""));
  fs::remove(root_ / "runs/labels/z.txt");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("runs")).status()), HasSubstr("no *.txt"));
}

TEST_F(LabelledPicturesTest, JsonResultsNamePicturesOfYolo) {
  PutYolo();
  Put("r.json",
      R"([{"image_id":7,"category_id":0,"bbox":[50,25,100,50],"score":0.9},
          {"image_id":"a","category_id":1,"bbox":[75,25,50,50],"score":0.9},
          {"image_id":"val/a.jpg","category_name":"person","bbox":[10,5,20,10],"score":0.9},
          {"image_id":"b","category_id":9,"bbox":[1,1,1,1],"score":0.9}])");
  const auto truth = Read();
  const auto read = ReadFoundBoxes(*truth, Path("r.json"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->found[0].size(), 1u);
  EXPECT_EQ(read->found[1].size(), 2u);
  EXPECT_EQ(read->strange_boxes, 1);
  Put("r.json", R"([{"image_id":"nobody","category_id":0,"bbox":[0,0,1,1],"score":0.9}])");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("r.json")).status()),
              HasSubstr("results[0]: the truth has no picture \"nobody\""));
}

constexpr char kXml[] = R"(<?xml version="1.0"?>
<!-- a street -->
<annotation verified="yes">
  <filename>a.jpg</filename>
  <size><width>200</width><height>100</height><depth>3</depth></size>
  <object>
    <name>R&amp;D van</name>
    <difficult>0</difficult>
    <part><name>wheel</name><bndbox><xmin>1</xmin></bndbox></part>
    <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
  </object>
  <object>
    <name>cat</name>
    <difficult>1</difficult>
    <bndbox><xmax>200</xmax><xmin>101.5</xmin><ymin>1</ymin><ymax>100</ymax></bndbox>
  </object>
</annotation>
)";

TEST_F(LabelledPicturesTest, Voc) {
  Put("Annotations/a.xml", kXml);
  Put("Annotations/b.xml", "<annotation><filename>b.jpg</filename></annotation>");
  Put("JPEGImages/a.jpg", "");
  Put("ImageSets/Main/val.txt", "b  -1\n");
  const auto truth = Read();
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_EQ(truth->format, "Pascal VOC");
  ASSERT_EQ(truth->pictures.size(), 2u);
  EXPECT_EQ(truth->class_names.at(0), "R&D van");
  ASSERT_EQ(truth->pictures[0].truth.size(), 2u);
  ExpectBox(truth->pictures[0].truth[0], 0, {10, 20, 20, 20});
  ExpectBox(truth->pictures[0].truth[1], 1, {100.5, 0, 99.5, 100});
  EXPECT_TRUE(truth->pictures[0].truth[1].ignored);
  EXPECT_FALSE(truth->pictures[0].path.empty());
  EXPECT_TRUE(truth->pictures[1].path.empty());
  EXPECT_EQ(Read("", {.split = "val"})->pictures.size(), 1u);
  // Nobody knows the numbers of the classes, unless a list says them.
  EXPECT_FALSE(truth->numbered_classes);
  Put("found/a.txt", "0 0.5 0.5 0.5 0.5 0.9\n");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("found")).status()), HasSubstr("classes.txt"));
  Put("classes.txt", "cat\nR&D van\n");
  EXPECT_EQ(Read("", {.format = "voc"})->pictures[0].truth[0].class_id, 1);
  Put("classes.txt", "cat\n");
  EXPECT_THAT(ReadError("", {.format = "voc"}), HasSubstr("does not stand in classes.txt"));
}

TEST_F(LabelledPicturesTest, VocErrorsNameFileAndLine) {
  const std::string good = kXml;
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    Put("Annotations/a.xml", text);
    return ReadError();
  };
  EXPECT_THAT(error("<xmax>30<", "<xmax>wide<"), HasSubstr("a.xml:10: <xmax> is \"wide\""));
  EXPECT_THAT(error("<xmax>30<", "<xmax>nan<"), HasSubstr("a.xml:10: <xmax> is \"nan\""));
  EXPECT_THAT(error("<xmax>30<", "<xmax>3<"), HasSubstr("a.xml:10: <bndbox> ends before"));
  EXPECT_THAT(error("<name>cat</name>", ""), HasSubstr("a.xml:12: <object> has no <name>"));
  EXPECT_THAT(error("<difficult>1", "<difficult>maybe"), HasSubstr("a.xml:14: <difficult>"));
  EXPECT_THAT(error("</annotation>", ""), HasSubstr("the text ends within <annotation>"));
  EXPECT_THAT(error("</part>", "</peace>"), HasSubstr("a.xml:9: </peace> closes <part>"));
  EXPECT_THAT(error("annotation verified", "html verified"), HasSubstr("a.xml:17:"));
}

TEST(XmlTree, HostileText) {
  const auto error = [](const std::string& text) {
    return std::string(MessageOf(ParseXml(text).status()));
  };
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_THAT(error(deep), HasSubstr("nested deeper"));
  EXPECT_THAT(error("<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>"), HasSubstr("declarations"));
  EXPECT_THAT(error("<a>&b;</a>"), HasSubstr("entity"));
  EXPECT_THAT(error("<a>&#xD800;</a>"), HasSubstr("entity"));
  EXPECT_THAT(error("<a>&"), HasSubstr("entity"));
  for (const char* const text : {"", "<", "<a", "</a>", "<a/><b/>", "text", "<a b='", "<!--",
                                 "<![CDATA[", "<?", "<a></a", "<a><", "< >"}) {
    EXPECT_FALSE(ParseXml(text).ok()) << text;
  }
  EXPECT_EQ(ParseXml("<a b='>'>x<![CDATA[<]]>&#233;</a>")->text, "x<\xC3\xA9");
  // Every prefix of a good file is refused, and none is read beyond its end.
  const std::string good(kXml, sizeof(kXml) - 2);
  for (size_t n = 0; n < good.find("</annotation>"); ++n) {
    EXPECT_FALSE(ParseXml(std::string(good.substr(0, n))).ok()) << n;
  }
}

TEST_F(LabelledPicturesTest, CocoFolderFindsItsPictures) {
  const std::string json =
      R"({"images":[{"id":4,"file_name":"a.jpg","width":200,"height":100}],"categories":[{"id":3,"name":"cat"},
      {"id":8,"name":"dog"}],"annotations":[{"image_id":4,"category_id":8,"bbox":[0,0,10,10]}]})";
  Put("annotations/instances_val.json", json);
  Put("annotations/captions_val.json", "{}");
  Put("images/val/a.jpg", "");
  const auto truth = Read();
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_THAT(truth->pictures.at(0).path, HasSubstr("images/val/a.jpg"));
  // YOLO's numbers stand for the categories in their order.
  Put("found/a.txt", "1 0.025 0.05 0.05 0.1 0.9\n");
  const auto read = ReadFoundBoxes(*truth, Path("found"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_NEAR(*CompareBoxes(*truth, read->found)->map, 1, 1e-9);
  Put("found/a.txt", "2 0.025 0.05 0.05 0.1 0.9\n");
  EXPECT_THAT(MessageOf(ReadFoundBoxes(*truth, Path("found")).status()), HasSubstr("class 2"));
  Put("annotations/instances_train.json", json);
  EXPECT_THAT(ReadError(), HasSubstr("several JSON files"));
}

TEST_F(LabelledPicturesTest, WhatCouldBeTwoFormatsIsRefused) {
  EXPECT_THAT(ReadError(), HasSubstr("no truth is in it"));
  EXPECT_THAT(ReadError("nowhere"), HasSubstr("nowhere"));
  PutYolo();
  Put("instances.json", R"({"images":[{"id":1}],"categories":[],"annotations":[]})");
  EXPECT_THAT(ReadError(), HasSubstr("--format yolo or --format coco"));
  EXPECT_EQ(Read("", {.format = "yolo"})->pictures.size(), 3u);
  EXPECT_EQ(Read("", {.format = "coco"})->pictures.size(), 1u);
}

}  // namespace
}  // namespace sightline::evaluate
