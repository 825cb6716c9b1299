#include "infer/torchscript_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "infer/zip_directory.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{2} << 30;
// Chosen: weights are never compressed, code is, and takes some KB a layer.
constexpr uint64_t kMaxDeflatedBytes = 64 << 20;
constexpr uint64_t kMaxNotesBytes = 4 << 20;
constexpr int kMaxNotesDepth = 8;  // chosen: Ultralytics nests twice
constexpr std::string_view kNotes = "extra/config.txt";
constexpr int64_t kMaxSide = 16384;

// The part of an entry's name after the archive's own, which stands in front of every one.
std::string_view Inside(const ZipEntry& entry) {
  const std::string_view name = entry.name;
  const size_t slash = name.find('/');
  return slash == name.npos ? std::string_view() : name.substr(slash + 1);
}

TorchArchive KindOf(const std::vector<ZipEntry>& entries) {
  bool code = false, constants = false, pickle = false;
  for (const ZipEntry& entry : entries) {
    const std::string_view name = Inside(entry);
    code |= name.starts_with("code/");
    constants |= name == "constants.pkl";
    pickle |= name == "data.pkl";
  }
  if (code && constants) return TorchArchive::kTorchScript;
  return pickle ? TorchArchive::kCheckpoint : TorchArchive::kNone;
}

bool GoesUp(std::string_view name) {
  return name.starts_with('/') || name.starts_with("../") || name.find("/../") != name.npos ||
         name.ends_with("/..") || name.find('\0') != name.npos;
}

int64_t Side(const nlohmann::json& value) {
  if (!value.is_number_integer()) return 0;
  const int64_t side = value.get<int64_t>();
  return side > 0 && side <= kMaxSide ? side : 0;
}

// "imgsz": [height, width], or "shape": [batch, 3, height, width] of older exporters.
void ReadSize(const nlohmann::json& notes, TorchScriptNotes& result) {
  const auto read = [&](const char* key, size_t rank) {
    const auto found = notes.find(key);
    if (found == notes.end() || !found->is_array() || found->size() != rank) return;
    result.height = Side((*found)[rank - 2]);
    result.width = Side((*found)[rank - 1]);
    if (result.height == 0 || result.width == 0) result.height = result.width = 0;
  };
  read("shape", 4);
  read("imgsz", 2);
}

// What is no JSON object says nothing.
TorchScriptNotes ReadNotes(const std::string& text) {
  TorchScriptNotes result;
  // What is nested deeper is left out: writing it again would take a stack as deep.
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= kMaxNotesDepth;
  };
  const nlohmann::json notes = nlohmann::json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!notes.is_object()) return result;
  for (const auto& [key, value] : notes.items()) {
    result.metadata[key] =
        value.is_string() ? value.get<std::string>()
                          : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  ReadSize(notes, result);
  return result;
}

absl::Status NotTorchScript(TorchArchive kind, std::string_view name) {
  if (kind == TorchArchive::kCheckpoint) {
    return InvalidArgument(
        "{} is a PyTorch checkpoint, a pickle, which is never opened here: export it, for example "
        "with Ultralytics' `yolo export model={} format=onnx`, or with torch.onnx.export",
        name, name);
  }
  return InvalidArgument("{} is a ZIP archive, but no TorchScript file", name);
}

// The outputs' shapes as a run showed them, their batch open.
std::vector<TensorInfo> Seen(std::span<const TensorInfo> declared,
                             std::span<const TensorView> views) {
  std::vector<TensorInfo> infos;
  for (size_t i = 0; i < views.size() && i < declared.size(); ++i) {
    infos.push_back({declared[i].name, views[i].dtype, views[i].shape});
  }
  return infos;
}

using Shape = std::array<int64_t, 4>;

// What the model gives for zeros of this shape.
absl::StatusOr<std::vector<TensorInfo>> Try(InferenceSession& session, const Shape& shape) {
  SL_RETURN_IF_ERROR(session.InputBuffer(0, shape).status());
  SL_ASSIGN_OR_RETURN(const std::span<const TensorView> views, session.Run());
  return Seen(session.outputs(), views);
}

// Whether two pictures at once give twice as much of everything.
bool TakesTwo(InferenceSession& session, Shape shape, const std::vector<TensorInfo>& one) {
  shape[0] = 2;
  const auto two = Try(session, shape);
  if (!two.ok()) return false;
  return std::ranges::equal(one, *two, [](const TensorInfo& a, const TensorInfo& b) {
    if (a.shape.empty() || b.shape.size() != a.shape.size()) return false;
    return a.shape[0] == 1 && b.shape[0] == 2 &&
           std::equal(a.shape.begin() + 1, a.shape.end(), b.shape.begin() + 1);
  });
}

}  // namespace

bool IsTorchScriptFile(const std::string& path) {
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  const auto read = [&](uint64_t at, std::span<uint8_t> into) {
    for (size_t done = 0; done < into.size();) {
      const ssize_t got =
          pread(file.get(), into.data() + done, into.size() - done, static_cast<off_t>(at + done));
      if (got <= 0) return false;
      done += static_cast<size_t>(got);
    }
    return true;
  };
  std::array<uint8_t, 2> magic{};
  if (!read(0, magic) || magic[0] != 'P' || magic[1] != 'K') return false;
  const auto entries = ReadZipDirectory(read, static_cast<uint64_t>(status.st_size), path);
  return entries.ok() && KindOf(*entries) == TorchArchive::kTorchScript;
}

TorchArchive TorchArchiveOf(std::span<const uint8_t> bytes) {
  const auto entries = ReadZipDirectory(ReadFrom(bytes), bytes.size(), "");
  return entries.ok() ? KindOf(*entries) : TorchArchive::kNone;
}

absl::StatusOr<TorchScriptNotes> CheckTorchScript(std::span<const uint8_t> bytes,
                                                  std::string_view name) {
  const ReadBytesAt read = ReadFrom(bytes);
  SL_ASSIGN_OR_RETURN(const std::vector<ZipEntry> entries,
                      ReadZipDirectory(read, bytes.size(), name));
  if (const TorchArchive kind = KindOf(entries); kind != TorchArchive::kTorchScript) {
    return NotTorchScript(kind, name);
  }
  TorchScriptNotes notes;
  uint64_t stored = 0, deflated = 0;
  for (const ZipEntry& entry : entries) {
    if (GoesUp(entry.name)) {
      return InvalidArgument("{} holds an entry whose name leads out of it", name);
    }
    if (entry.method == 0 && entry.bytes != entry.packed_bytes) {
      return DataLoss("{} is damaged: an entry has two sizes", name);
    }
    (entry.method == 0 ? stored : deflated) += entry.bytes;
    if (Inside(entry) == kNotes && entry.method == 0) {
      SL_ASSIGN_OR_RETURN(const std::string text, ReadStoredEntry(read, entry, kMaxNotesBytes));
      notes = ReadNotes(text);
    }
  }
  if (deflated > kMaxDeflatedBytes || stored > kMaxFileBytes) {
    return ResourceExhausted(
        "{} says that it holds {} bytes, and {} more in what is compressed: at most {} and {} are "
        "taken",
        name, stored, deflated, kMaxFileBytes, kMaxDeflatedBytes);
  }
  return notes;
}

absl::StatusOr<OnnxFileInfo> InspectTorchScript(const std::string& path, InferenceBackend& backend,
                                                int width, int height) {
  if (!backend.Reads(ModelFormat::kTorchScript)) {
    return InvalidArgument(
        "{} is a TorchScript file, which {} does not read: --backend torchscript does (a "
        "TorchScript "
        "file is a program: run what you trust), or export the model to ONNX",
        path, backend.name());
  }
  OnnxFileInfo info;
  info.path = path;
  info.producer = "TorchScript";
  TorchScriptNotes notes;
  {
    SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path, kMaxFileBytes));
    info.file_bytes = bytes.size();
    SL_ASSIGN_OR_RETURN(notes, CheckTorchScript(AsBytes(bytes), path));
  }
  info.metadata = notes.metadata;
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<InferenceSession> session,
                      backend.Open({.model_file = path}));
  info.inputs.assign(session->inputs().begin(), session->inputs().end());
  info.outputs.assign(session->outputs().begin(), session->outputs().end());
  if (info.inputs.size() != 1) return info;

  std::vector<std::pair<int64_t, int64_t>> sizes;  // width, height
  if (width > 0 && height > 0) {
    sizes = {{width, height}};
  } else if (notes.width > 0) {
    sizes = {{notes.width, notes.height}};
  } else {
    // Those of detectors first, then those of classifiers. The second tells whether any size will do.
    for (const int64_t side : {640, 320, 416, 224, 256, 512, 384, 300, 299, 288, 112}) {
      sizes.emplace_back(side, side);
    }
  }
  absl::Status last;
  for (const auto& [w, h] : sizes) {
    const Shape shape = {1, 3, h, w};
    auto outputs = Try(*session, shape);
    if (!outputs.ok()) {
      last = outputs.status();
      continue;
    }
    const bool two = TakesTwo(*session, shape, *outputs);
    const bool any = sizes.size() > 1 && w == sizes[0].first &&
                     Try(*session, {1, 3, sizes[1].second, sizes[1].first}).ok();
    info.inputs[0].shape = {two ? -1 : 1, 3, any ? -1 : h, any ? -1 : w};
    info.outputs = *std::move(outputs);
    for (TensorInfo& output : info.outputs) {
      if (two && !output.shape.empty()) output.shape[0] = -1;
    }
    return info;
  }
  if (sizes.size() == 1) {
    return InvalidArgument(
        "{} cannot be run on pictures of {}x{}: for others add --set input.width=W --set "
        "input.height=H: {}",
        path, sizes[0].first, sizes[0].second, MessageOf(last));
  }
  return InvalidArgument(
      "{} does not say which pictures it takes, and none of the usual sizes will do: add --set "
      "input.width=W --set input.height=H; for {}x{}: {}",
      path, sizes.back().first, sizes.back().second, MessageOf(last));
}

}  // namespace sightline
