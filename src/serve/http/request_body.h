// The body of a request: text of its own, or bytes in a block of the server's memory for large ones.
//
// Moves, and is never copied. Threads: as a string.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "serve/http/body_memory.h"

namespace sightline::serve {

class RequestBody {
 public:
  // So many bytes behind the end may be read, whatever they are, once ReadableBehind() was called.
  static constexpr size_t kBehind = 64;

  RequestBody() = default;
  RequestBody(std::string text) : text_(std::move(text)) {}  // NOLINT(google-explicit-constructor)
  // `bytes` of the block from `offset` on, with kBehind more behind them.
  RequestBody(BodyMemory::Block block, size_t offset, size_t bytes)
      : block_(std::move(block)), offset_(offset), bytes_(bytes) {
    std::memset(block_.data() + offset_ + bytes_, 0, kBehind);  // nothing of the one before
  }
  RequestBody(RequestBody&& other) noexcept = default;
  RequestBody& operator=(RequestBody&& other) noexcept = default;

  size_t size() const { return block_ ? bytes_ : text_.size(); }
  bool empty() const { return size() == 0; }
  const char* data() const { return block_ ? block_.data() + offset_ : text_.data(); }
  std::string_view view() const { return {data(), size()}; }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)

  bool is_block() const { return static_cast<bool>(block_); }
  // Only of a text: what the parser hands on piece by piece.
  std::string& text() { return text_; }
  void ReadableBehind() {
    if (!block_) text_.reserve(text_.size() + kBehind);
  }

 private:
  std::string text_;
  BodyMemory::Block block_;
  size_t offset_ = 0;
  size_t bytes_ = 0;
};

}  // namespace sightline::serve
