// Where the body of a request is read to, when its length is known. Internal to serve/http.
//
// Memory is taken as bytes come, not as they are announced: who announces much and sends little has touched
// little. Small bodies are texts. Of large ones so is the beginning, until a quarter has come to this machine;
// then the body has a block, new or used before.
// Threads: those of the connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "serve/http/body_memory.h"
#include "serve/http/request_body.h"

namespace sightline::serve {

// Room of one connection.
class BodyRoom {
 public:
  explicit BodyRoom(BodyMemory& memory) : memory_(memory) {}
  ~BodyRoom() { Shrink(0); }
  BodyRoom(const BodyRoom&) = delete;
  BodyRoom& operator=(const BodyRoom&) = delete;

  BodyMemory& memory() { return memory_; }
  size_t bytes() const { return bytes_; }
  // So many bytes in all; false, and none more than before, when there is not so much.
  bool Need(size_t bytes) {
    if (bytes <= bytes_) return true;
    if (!memory_.TakeRoom(bytes - bytes_)) return false;
    bytes_ = bytes;
    return true;
  }
  // Gives back what is beyond.
  void Shrink(size_t bytes) {
    if (bytes >= bytes_) return;
    memory_.GiveRoom(bytes_ - bytes);
    bytes_ = bytes;
  }
  // Instead of what is held the capacity of a block that was used before; empty when there is none.
  BodyMemory::Block TakeKept(size_t bytes) {
    BodyMemory::Block block = memory_.TakeKept(bytes, bytes_);
    if (block) bytes_ = block.capacity();
    return block;
  }

 private:
  BodyMemory& memory_;
  size_t bytes_ = 0;
};

class BodyPlace {
 public:
  static constexpr size_t kFirstPiece = size_t{16} * 1024;  // of a large body; chosen

  // Of `length` bytes, of which the one at `aligned_at` is to lie on a boundary of 64.
  void Begin(size_t length, size_t aligned_at);
  // Makes Free() not empty, where not all has come. `waiting` bytes are there to be read. False when there is
  // no room, or no memory.
  bool Grow(size_t waiting, BodyRoom& room);
  char* free() { return begin() + have_; }
  size_t free_bytes() const { return end_ - have_; }
  // So many bytes were written there.
  void Came(size_t bytes) { have_ += bytes; }
  size_t have() const { return have_; }
  bool whole() const { return have_ == length_; }
  // What has come, all of it. Begin() comes next.
  RequestBody Take();

 private:
  static constexpr size_t kAlignment = 64;
  char* begin() { return block_ ? block_.data() + offset_ : text_.data(); }
  bool MoveToBlock(BodyRoom& room);

  size_t length_ = 0;
  size_t offset_ = 0;  // in the block
  size_t have_ = 0;
  size_t end_ = 0;  // up to there it may be written
  std::string text_;
  BodyMemory::Block block_;
};

}  // namespace sightline::serve
