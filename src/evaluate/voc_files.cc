#include "evaluate/voc_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/number_lines.h"
#include "base/whole_file.h"
#include "evaluate/text_lines.h"
#include "evaluate/xml_tree.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostXmlBytes = uint64_t{16} << 20;
constexpr uint64_t kMostTextBytes = uint64_t{64} << 20;

struct NamedBox {
  std::string name;
  TrueBox box;
};

// One file: the picture, and its objects with the names of their classes.
struct Annotated {
  LabelledPicture picture;
  std::vector<NamedBox> objects;
};

template <typename... Args>
absl::Status Wrong(const fs::path& file, const XmlElement& where,
                   fmt::format_string<Args...> format, Args&&... args) {
  return InvalidArgument("{}:{}: {}", file.string(), where.line,
                         fmt::format(format, std::forward<Args>(args)...));
}

absl::StatusOr<double> NumberOf(const fs::path& file, const XmlElement& parent, const char* name) {
  const XmlElement* const child = parent.Child(name);
  if (child == nullptr) return Wrong(file, parent, "<{}> has no <{}>", parent.name, name);
  double value = 0;
  if (ParseFinite(child->text, &value)) return value;
  return Wrong(file, *child, "<{}> is \"{}\", expected a number", name, ShownText(child->text));
}

absl::StatusOr<PlacedBox> BoxOf(const fs::path& file, const XmlElement& object) {
  const XmlElement* const box = object.Child("bndbox");
  if (box == nullptr) return Wrong(file, object, "<object> has no <bndbox>");
  SL_ASSIGN_OR_RETURN(const double left, NumberOf(file, *box, "xmin"));
  SL_ASSIGN_OR_RETURN(const double top, NumberOf(file, *box, "ymin"));
  SL_ASSIGN_OR_RETURN(const double right, NumberOf(file, *box, "xmax"));
  SL_ASSIGN_OR_RETURN(const double bottom, NumberOf(file, *box, "ymax"));
  if (right < left || bottom < top) {
    return Wrong(file, *box, "<bndbox> ends before it begins: x {} to {}, y {} to {}", left, right,
                 top, bottom);
  }
  return PlacedBox{left - 1, top - 1, right - left + 1, bottom - top + 1};
}

absl::StatusOr<NamedBox> ObjectOf(const fs::path& file, const XmlElement& object) {
  NamedBox named;
  const XmlElement* const name = object.Child("name");
  if (name == nullptr || name->text.empty()) return Wrong(file, object, "<object> has no <name>");
  named.name = ShownText(name->text);
  SL_ASSIGN_OR_RETURN(named.box.box_px, BoxOf(file, object));
  if (const XmlElement* const difficult = object.Child("difficult")) {
    const std::string& said = difficult->text;
    named.box.ignored = said == "1" || said == "true" || said == "True";
    if (!named.box.ignored && said != "0" && said != "false" && said != "False" && !said.empty()) {
      return Wrong(file, *difficult, "<difficult> is \"{}\", expected 0 or 1", ShownText(said));
    }
  }
  return named;
}

// The picture's file: where VOC has it, or beside the XML.
std::string PictureOf(const fs::path& root, const fs::path& xml, const std::string& filename,
                      const PictureAccess& access) {
  std::error_code error;
  const fs::path folders[] = {root / "JPEGImages", root / "images", root, xml.parent_path()};
  for (const fs::path& folder : folders) {
    const fs::path file = folder / fs::path(filename).filename();
    if (!filename.empty() && fs::is_regular_file(file, error)) return file.string();
  }
  for (const fs::path& folder : folders) {
    for (const char* const extension : {".jpg", ".png", ".jpeg", ".JPG", ".bmp", ".webp"}) {
      const fs::path file = folder / (xml.stem().string() + extension);
      if (access.is_picture(file.string()) && fs::is_regular_file(file, error))
        return file.string();
    }
  }
  return {};
}

absl::Status TakeSize(const fs::path& file, const XmlElement& root, const PictureAccess& access,
                      LabelledPicture* picture) {
  if (const XmlElement* const size = root.Child("size")) {
    SL_ASSIGN_OR_RETURN(const double width, NumberOf(file, *size, "width"));
    SL_ASSIGN_OR_RETURN(const double height, NumberOf(file, *size, "height"));
    if (width < 0 || height < 0 || width > 1e6 || height > 1e6) {
      return Wrong(file, *size, "<size> is {} x {}", width, height);
    }
    picture->width = static_cast<int>(width);
    picture->height = static_cast<int>(height);
  }
  if (picture->width > 0 && picture->height > 0) return absl::OkStatus();
  if (picture->path.empty()) return absl::OkStatus();
  SL_ASSIGN_OR_RETURN(const PictureSize size, access.size_of(picture->path));
  picture->width = size.width;
  picture->height = size.height;
  return absl::OkStatus();
}

absl::StatusOr<Annotated> ReadAnnotation(const fs::path& root, const fs::path& file,
                                         const PictureAccess& access) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostXmlBytes));
  const absl::StatusOr<XmlElement> parsed = ParseXml(text);
  if (!parsed.ok()) {
    // "line 7: ..." becomes file:7: ...
    std::string message(MessageOf(parsed.status()));
    if (message.starts_with("line ")) message.erase(0, 5);
    return InvalidArgument("{}:{}", file.string(), message);
  }
  if (parsed->name != "annotation") {
    return Wrong(file, *parsed, "<{}> where <annotation> is expected", ShownText(parsed->name));
  }
  Annotated annotated;
  const XmlElement* const filename = parsed->Child("filename");
  const std::string said = filename == nullptr ? std::string() : filename->text;
  annotated.picture.path = PictureOf(root, file, said, access);
  annotated.picture.name = annotated.picture.path.empty()
                               ? file.stem().string()
                               : fs::path(annotated.picture.path).filename().string();
  SL_RETURN_IF_ERROR(TakeSize(file, *parsed, access, &annotated.picture));
  for (const XmlElement& child : parsed->children) {
    if (child.name != "object") continue;
    SL_ASSIGN_OR_RETURN(NamedBox object, ObjectOf(file, child));
    annotated.objects.push_back(std::move(object));
  }
  return annotated;
}

fs::path AnnotationFolder(const fs::path& root) {
  std::error_code error;
  return fs::is_directory(root / "Annotations", error) ? root / "Annotations" : root;
}

std::vector<fs::path> XmlFilesOf(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".xml") files.push_back(at->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The names of ImageSets/Main/SPLIT.txt; a second column, as of one class's list, is not looked at.
absl::StatusOr<std::set<std::string>> NamesOfSplit(const fs::path& root, const std::string& split) {
  const fs::path file = root / "ImageSets" / "Main" / (split + ".txt");
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostTextBytes));
  std::set<std::string> names;
  SL_RETURN_IF_ERROR(ForEachLine(text, [&](size_t, std::string_view line) {
    names.emplace(line.substr(0, line.find_first_of(" \t")));
    return absl::OkStatus();
  }));
  return names;
}

absl::Status NumberClasses(const fs::path& root, const std::vector<Annotated>& all,
                           LabelledPictures* truth) {
  const fs::path list = root / "classes.txt";
  std::error_code error;
  truth->numbered_classes = fs::is_regular_file(list, error);
  int32_t next = 0;
  if (truth->numbered_classes) {
    SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(list.string(), kMostTextBytes));
    return ForEachLine(text, [&](size_t, std::string_view line) {
      truth->class_names[next++] = ShownText(line);
      return absl::OkStatus();
    });
  }
  std::set<std::string> names;
  for (const Annotated& one : all) {
    for (const NamedBox& object : one.objects) names.insert(object.name);
  }
  for (const std::string& name : names) truth->class_names[next++] = name;
  return absl::OkStatus();
}

}  // namespace

bool LooksLikeVoc(const std::string& folder) {
  return !XmlFilesOf(AnnotationFolder(folder)).empty();
}

absl::StatusOr<LabelledPictures> ReadVocTruth(const std::string& folder, const std::string& split,
                                              const PictureAccess& access) {
  const fs::path annotations = AnnotationFolder(folder);
  std::vector<fs::path> files = XmlFilesOf(annotations);
  LabelledPictures truth{.format = "Pascal VOC"};
  if (!split.empty() && split != "all") {
    SL_ASSIGN_OR_RETURN(const std::set<std::string> names, NamesOfSplit(folder, split));
    std::erase_if(files,
                  [&](const fs::path& file) { return !names.contains(file.stem().string()); });
  }
  if (files.empty()) return NotFound("{}: no annotation (*.xml) in it", annotations.string());
  std::vector<Annotated> all;
  for (const fs::path& file : files) {
    SL_ASSIGN_OR_RETURN(Annotated one, ReadAnnotation(folder, file, access));
    all.push_back(std::move(one));
  }
  SL_RETURN_IF_ERROR(NumberClasses(folder, all, &truth));
  std::map<std::string, int32_t> ids;
  for (const auto& [id, name] : truth.class_names) ids[name] = id;
  int64_t difficult = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    LabelledPicture& picture = all[i].picture;
    picture.id = static_cast<int64_t>(truth.pictures.size());
    for (NamedBox& object : all[i].objects) {
      const auto id = ids.find(object.name);
      if (id == ids.end()) {
        return InvalidArgument("{}: class \"{}\" does not stand in classes.txt", files[i].string(),
                               object.name);
      }
      object.box.class_id = id->second;
      difficult += object.box.ignored ? 1 : 0;
      picture.truth.push_back(object.box);
    }
    truth.pictures.push_back(std::move(picture));
  }
  if (difficult > 0) {
    truth.remarks.push_back(
        fmt::format("{} objects are marked difficult: they need not be found", difficult));
  }
  return truth;
}

}  // namespace sightline::evaluate
