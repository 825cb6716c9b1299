// Counts operator new while a source reads: after warm-up it must not be called by us.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/allocation_scope.h"
#include "media/image_codec.h"
#include "media/open_source.h"
#include "media/probe.h"
#include "media/test_clips.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0};
}  // namespace

void* operator new(std::size_t size) {
  if (counting && !sightline::LibraryAllocations::Inside()) ++allocations;
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace sightline {
namespace {

uint64_t AllocationsAfterWarmUp(const SourceOptions& options, int warm_up) {
  FrameLedger ledger;
  auto source = OpenSource(options, ledger);
  EXPECT_TRUE(source.ok()) << source.status();
  if (!source.ok()) return 1;
  int frames = 0;
  allocations = 0;
  for (;;) {
    counting = frames >= warm_up;
    auto next = (*source)->Next();
    const bool more = next.ok() && next->has_value();
    counting = false;
    if (!more) break;
    ++frames;
  }
  EXPECT_GT(frames, warm_up + 10);
  return allocations;
}

TEST(Allocations, ReadingAVideoAllocatesNothingPerFrame) {
  SKIP_WITHOUT_FFMPEG();
  const test::TempDir dir;
  const char* const encodes[] = {"-c:v libx264 -bf 2 -pix_fmt yuv420p", "-c:v mpeg4 -bf 2",
                                 "-c:v ffv1 -pix_fmt yuv420p10le", "-c:v mjpeg -pix_fmt yuvj420p"};
  for (const char* encode : encodes) {
    ASSERT_TRUE(test::Ffmpeg(test::TestPicture("96x64", 200) + encode + " " + (dir / "a.mkv")));
    SourceOptions options = test::OptionsFor(dir / "a.mkv");
    EXPECT_EQ(AllocationsAfterWarmUp(options, 20), 0u) << encode;
    options.selection.every_nth = 3;
    EXPECT_EQ(AllocationsAfterWarmUp(options, 20), 0u) << encode;
  }
}

TEST(Probe, KnowsTheCommonCodecs) {
  const MediaAbilities abilities = ProbeMedia();
  EXPECT_GE(abilities.libraries.size(), 5u);
  for (const CodecAbility& decoder : abilities.decoders) {
    if (decoder.codec == "h264" || decoder.codec == "mjpeg") {
      EXPECT_TRUE(decoder.available());
    }
  }
  EXPECT_EQ(abilities.encoders.at(0).codec, "h264");
}

}  // namespace
}  // namespace sightline
