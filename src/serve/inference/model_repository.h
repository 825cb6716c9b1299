// The models that are served, by name and version, and their coming and going.
//
// A new version is loaded and warm before the one that it replaces goes; what the old one had accepted
// it answers. Loading and unloading happen one after the other on the thread "models".
//
// Threads: safe. Cost: Find() takes a lock for two look-ups.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "infer/backend.h"
#include "infer/model_store.h"
#include "serve/inference/served_model.h"

namespace sightline::serve {

struct ServedModelChoice {
  std::string reference;  // model_source.h
  bool from_store =
      false;  // it is the name of a package there, whatever lies in the working folder
  bool all_versions = false;
  std::string backend = {};  // "" = the one that suits the file
  ModelSettings settings = {};
};

struct ModelRepositoryOptions {
  ModelStore store = ModelStore::Default();
  // The backend of that name ("" = any that suits the model file).
  std::function<absl::StatusOr<InferenceBackend*>(const std::string& wanted,
                                                  const std::string& file)>
      backend;
  // A first look at a file that no model.yaml describes, with that backend, before it is opened here: what
  // a made-up file does to a runtime is to stay in another process. Empty: there is none.
  std::function<absl::Status(const std::string& wanted, const std::string& file)> trial = {};
  // Whether clients may load any package of the store, beside the models that were chosen.
  bool load_from_store = true;
  size_t max_waiting = 64;  // loads and unloads
  const Clock* clock = &Clock::Real();
};

enum class ModelState : uint8_t { kUnknown, kLoading, kReady, kUnloading, kUnavailable };
std::string_view ToString(ModelState state);  // "READY"; "" for kUnknown

struct ModelIndexEntry {
  std::string name;
  std::string version;  // "" where none was ever loaded
  ModelState state = ModelState::kUnknown;
  std::string reason;
};

class ModelRepository {
 public:
  using LoadDone = std::function<void(const absl::Status&)>;  // on the thread "models"

  // What is done with a model's version before it is served: `replaced` is the one that it takes the place
  // of, or null. An error keeps it from being served. On the thread "models".
  using BeforeServed = std::function<absl::Status(const std::shared_ptr<ServedModel>& fresh,
                                                  const ServedModel* replaced)>;
  // The model that answers under NAME and this ending what NAME finds in pictures; null: there is none.
  static constexpr std::string_view kPicturesEnding = "_pictures";
  using MakePictures =
      std::function<std::shared_ptr<ServedModel>(const std::shared_ptr<ServedModel>& base)>;

  // ResourceExhausted without a thread; InvalidArgument for two choices of one name.
  static absl::StatusOr<std::unique_ptr<ModelRepository>> Create(
      ModelRepositoryOptions options, std::vector<ServedModelChoice> choices);
  ~ModelRepository();  // Stop()s

  // Before anything is loaded.
  void UseForPictures(BeforeServed before) { before_served_ = std::move(before); }
  void ServePicturesAs(MakePictures make) { make_pictures_ = std::move(make); }

  // Loads all that was chosen, in order; `done` has the first error, after all were tried.
  void LoadChosen(LoadDone done);
  // Loads, or loads anew, the model of that name. NotFound for one that is neither chosen nor in the
  // store; ResourceExhausted when too many wait.
  void Load(const std::string& name, LoadDone done);
  // NotFound for a name that is not served.
  void Unload(const std::string& name, LoadDone done);

  // Of that version, or the newest with "". NotFound; Unavailable for one that is not loaded.
  absl::StatusOr<std::shared_ptr<ServedModel>> Find(std::string_view name,
                                                    std::string_view version) const
      EXCLUDES(mutex_);
  // The versions that are ready, the newest last. NotFound as above.
  absl::StatusOr<std::vector<std::shared_ptr<ServedModel>>> Versions(std::string_view name) const
      EXCLUDES(mutex_);
  std::vector<std::shared_ptr<ServedModel>> All() const EXCLUDES(mutex_);
  // What a question means that may leave names out: All() with no name, Versions() with no version, else
  // the one.
  absl::StatusOr<std::vector<std::shared_ptr<ServedModel>>> Select(std::string_view name,
                                                                   std::string_view version) const
      EXCLUDES(mutex_);
  std::vector<ModelIndexEntry> Index(bool ready_only) const EXCLUDES(mutex_);

  // Whether every model is ready that was chosen, or loaded since, and not unloaded.
  bool Ready() const EXCLUDES(mutex_);

  // Drops what waits to be loaded or computed, and unloads. Idempotent.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Version {
    std::shared_ptr<ServedModel> model;     // null: not loaded
    std::shared_ptr<ServedModel> pictures;  // of that, or null
    ModelState state = ModelState::kUnknown;
    std::string reason;
  };
  struct Entry {
    ServedModelChoice choice;
    bool wanted = false;  // without it the server is not ready
    std::map<int64_t, Version> versions;
  };
  struct Task {
    std::string name;
    bool unload = false;
    LoadDone done;
  };

  ModelRepository(ModelRepositoryOptions options) : options_(std::move(options)) {}
  void Loop() EXCLUDES(mutex_);
  void Post(Task task) EXCLUDES(mutex_);
  // Of the entry of that name, or of NAME_pictures; null where there is neither.
  struct Found {
    const Entry* entry = nullptr;
    bool pictures = false;
    const std::shared_ptr<ServedModel>& Of(const Version& version) const {
      return pictures ? version.pictures : version.model;
    }
  };
  Found FindEntry(std::string_view name) const REQUIRES(mutex_);
  absl::Status LoadNow(const std::string& name) EXCLUDES(mutex_);
  absl::Status UnloadNow(const std::string& name) EXCLUDES(mutex_);
  void Mark(const std::string& name, int64_t version, ModelState state, std::string reason)
      EXCLUDES(mutex_);

  const ModelRepositoryOptions options_;
  BeforeServed before_served_;
  MakePictures make_pictures_;
  mutable Mutex mutex_;
  CondVar work_;
  std::map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mutex_);
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sightline::serve
