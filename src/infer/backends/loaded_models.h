// Models as a runtime has loaded them, shared by the sessions that use them: one for each file and way
// of using it, for as long as a session has it. Internal to infer/backends/.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline {

// What makes two loaded models the same one. A file that was replaced is another model.
struct LoadedModelKey {
  std::string use;  // device, threads and whatever else a runtime builds into a loaded model
  dev_t device = 0;
  ino_t inode = 0;
  off_t bytes = 0;
  int64_t modified_ns = 0;
  auto operator<=>(const LoadedModelKey&) const = default;
};

// NotFound and InvalidArgument when there is no such file.
absl::StatusOr<LoadedModelKey> KeyOfModel(const std::string& file, std::string use);

// Threads: safe.
template <typename Model>
class LoadedModels {
 public:
  // The model of that key, else what `load` gives (absl::StatusOr<std::shared_ptr<Model>>).
  template <typename Load>
  absl::StatusOr<std::shared_ptr<Model>> FindOrLoad(LoadedModelKey key, const Load& load)
      EXCLUDES(loading_) {
    // Held while loading, so that runners that start at once load the file once. Nothing on the way
    // of a frame takes it.
    MutexLock lock(loading_);
    std::erase_if(models_, [](const auto& entry) { return entry.second.expired(); });
    if (const auto found = models_.find(key); found != models_.end()) {
      if (auto model = found->second.lock()) return model;
    }
    SL_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, load());
    models_[std::move(key)] = model;
    return model;
  }

 private:
  Mutex loading_;
  std::map<LoadedModelKey, std::weak_ptr<Model>> models_ GUARDED_BY(loading_);
};

}  // namespace sightline
