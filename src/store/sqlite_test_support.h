// For the tests of the SQLite sink: a sink that must open, and a whole run into it.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "store/sqlite_sink.h"
#include "store/synthetic_results.h"

namespace sightline {

inline std::unique_ptr<SqliteSink> MustCreate(const SqliteSinkOptions& options) {
  auto sink = SqliteSink::Create(options);
  EXPECT_TRUE(sink.ok()) << sink.status();
  return sink.ok() ? *std::move(sink) : nullptr;
}

// A whole run: frames, tracks, ledger, end.
inline void StoreRun(ResultSink& sink, const SyntheticResults& source, uint64_t frames) {
  for (uint64_t i = 0; i < frames; ++i) ASSERT_TRUE(sink.Write(source.Frame(i)).ok());
  for (int i = 0; i < source.objects(); ++i) {
    ASSERT_TRUE(sink.WriteTrack(source.Track(i, frames - 1)).ok());
  }
  FrameCounts counts;
  counts.frames_in = frames + 7;
  counts.processed = frames;
  counts.skipped[static_cast<size_t>(SkipReason::kNoMotion)] = 7;
  ASSERT_TRUE(sink.WriteLedger(*source.camera(), counts).ok());
}

}  // namespace sightline
