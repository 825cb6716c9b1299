// Any bytes as a TorchScript file: what its archive says is read or refused, never a crash, a hang or a
// leak, and nothing of what is read is larger than the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "infer/torchscript_file.h"
#include "infer/zip_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  const std::span<const uint8_t> bytes(data, size);
  const auto notes = CheckTorchScript(bytes, "fuzz.pt");
  const bool is_one = TorchArchiveOf(bytes) == TorchArchive::kTorchScript;
  if (notes.ok() && (!is_one || notes->width < 0 || notes->height < 0)) std::abort();
  const ReadBytesAt read = ReadFrom(bytes);
  const auto entries = ReadZipDirectory(read, size, "fuzz.zip");
  if (!entries.ok()) return 0;
  for (const ZipEntry& entry : *entries) {
    const auto content = ReadStoredEntry(read, entry, 1 << 20);
    if (content.ok() && content->size() > size) std::abort();
  }
  return 0;
}
