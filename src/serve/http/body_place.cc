#include <cstring>
#include <utility>

#include "serve/http/body_place_internal.h"

namespace sightline::serve {

void BodyPlace::Begin(size_t length, size_t aligned_at) {
  *this = BodyPlace();
  length_ = length;
  offset_ = (kAlignment - aligned_at % kAlignment) % kAlignment;
}

bool BodyPlace::Grow(size_t waiting, BodyRoom& room) {
  if (end_ > have_ || whole()) return true;
  waiting = std::min(waiting, length_ - have_);
  if (!block_ && length_ > BodyMemory::kBlockStep && have_ + waiting >= length_ / 4 &&
      !MoveToBlock(room)) {
    return false;
  }
  const size_t next = std::min(length_, have_ + std::max({kFirstPiece, have_, waiting}));
  if (!room.Need(next)) return false;
  if (!block_) text_.resize(next);
  end_ = next;
  return true;
}

bool BodyPlace::MoveToBlock(BodyRoom& room) {
  const size_t needed = offset_ + length_ + RequestBody::kBehind;
  block_ = room.TakeKept(needed);
  if (!block_) block_ = room.memory().New(needed);
  if (!block_) return false;
  if (have_ > 0) std::memcpy(block_.data() + offset_, text_.data(), have_);
  text_ = std::string();
  return true;
}

RequestBody BodyPlace::Take() {
  if (block_) return {std::move(block_), offset_, have_};
  text_.resize(have_);
  return std::move(text_);
}

}  // namespace sightline::serve
