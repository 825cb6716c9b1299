// Leaves out the lines of one camera. Internal to the JSON lines sink.
//
// Threads: one at a time. Memory: one line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sightline {

class JsonlLineFilter {
 public:
  // `begin`: where in the file the text stands that is given first. `marks`: places of line beginnings
  // behind it, in any order, which Add() moves along with their lines.
  JsonlLineFilter(std::string_view camera_id, int64_t begin, std::vector<int64_t*> marks);

  // The text that follows; the lines that stay are appended to *kept as soon as they are whole.
  void Add(std::string_view text, std::string* kept);
  int64_t removed_bytes() const { return removed_bytes_; }

 private:
  void PassMarks();

  const std::string line_start_;
  int64_t at_;  // of the line that `line_` is, before anything was removed
  int64_t removed_bytes_ = 0;
  std::vector<int64_t*> marks_;  // the next one last
  std::string line_;             // not whole yet
};

// Takes the lines of that camera between `begin` and *end, which are line beginnings, out of the file,
// and sets *end and `marks` to where they are then. 0, or an errno.
int DropLinesInFile(int fd, JsonlLineFilter& filter, int64_t begin, int64_t* end);

}  // namespace sightline
