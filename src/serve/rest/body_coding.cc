#include "serve/rest/body_coding.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "base/ascii_text.h"
#include "base/check.h"

namespace sightline::serve {
namespace {

constexpr int kWindowBits = 15;
constexpr int kGzip = 16;           // added to the window's bits
constexpr int kEither = 32;         // gzip or zlib, by what is there
constexpr size_t kPiece = 1 << 16;  // first room for what comes out

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Bytef* BytesOf(const char* text) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(text));  // zlib's next_in is not const
}

}  // namespace

std::string_view ToString(BodyCoding coding) {
  switch (coding) {
    case BodyCoding::kGzip:
      return "gzip";
    case BodyCoding::kDeflate:
      return "deflate";
    case BodyCoding::kIdentity:
      break;
  }
  return "identity";
}

absl::StatusOr<BodyCoding> ReadContentEncoding(std::string_view header) {
  const std::string coding = AsciiLower(Trimmed(header));
  if (coding.empty() || coding == "identity") return BodyCoding::kIdentity;
  if (coding == "gzip" || coding == "x-gzip") return BodyCoding::kGzip;
  if (coding == "deflate") return BodyCoding::kDeflate;
  return Unimplemented("the content encoding \"{}\" is not known; gzip and deflate are",
                       ShownText(coding, 40));
}

BodyCoding ChooseCoding(std::string_view accept_encoding) {
  const std::string coding = AsciiLower(Trimmed(accept_encoding));
  if (coding == "gzip") return BodyCoding::kGzip;
  if (coding == "deflate") return BodyCoding::kDeflate;
  return BodyCoding::kIdentity;
}

absl::StatusOr<std::string> Unpack(std::string_view packed, size_t most_bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, kWindowBits + kEither) != Z_OK) {
    return ResourceExhausted("no memory is left to unpack a body");
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = BytesOf(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string bytes;
  while (true) {
    const size_t have = bytes.size();
    if (have > most_bytes) {
      return MakeError(absl::StatusCode::kOutOfRange,
                       "the body has more than {} bytes when it is unpacked", most_bytes);
    }
    bytes.resize(std::min(most_bytes + 1, have + std::max(kPiece, have)));
    stream.next_out = BytesOf(bytes.data() + have);
    stream.avail_out = static_cast<uInt>(bytes.size() - have);
    const int result = inflate(&stream, Z_NO_FLUSH);
    bytes.resize(bytes.size() - stream.avail_out);
    if (result == Z_STREAM_END) break;
    if (result != Z_OK || (stream.avail_in == 0 && stream.avail_out > 0)) {
      return InvalidArgument(
          "the body cannot be unpacked: its bytes are damaged, or end too early");
    }
  }
  if (bytes.size() > most_bytes) {
    return MakeError(absl::StatusCode::kOutOfRange,
                     "the body has more than {} bytes when it is unpacked", most_bytes);
  }
  return bytes;
}

std::string Pack(BodyCoding coding, std::string_view bytes) {
  z_stream stream{};
  const int window = kWindowBits + (coding == BodyCoding::kGzip ? kGzip : 0);
  const int begun = deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
  SL_CHECK(begun == Z_OK, "zlib does not begin: {}", begun);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, deflateEnd);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = BytesOf(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = BytesOf(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int done = deflate(&stream, Z_FINISH);
  SL_CHECK(done == Z_STREAM_END, "zlib does not end: {}", done);
  packed.resize(stream.total_out);
  return packed;
}

}  // namespace sightline::serve
