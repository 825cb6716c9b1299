#include "serve/inference/model_repository.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "base/thread.h"
#include "infer/model_package.h"
#include "serve/inference/model_source.h"

namespace sightline::serve {
namespace {

constexpr size_t kLongestShown = 100;

absl::Status Unknown(std::string_view name) {
  return NotFound("Request for unknown model: '{}' is not found", ShownText(name, kLongestShown));
}

// Whether it is known that the model looks at pictures: before the first one the package alone says so.
bool IsForPictures(const ServedModel* model) {
  if (model == nullptr) return false;
  const std::shared_ptr<ModelCompanion> companion = model->companion();
  return companion != nullptr ? companion->works() : model->options().is_described;
}

}  // namespace

std::string_view ToString(ModelState state) {
  switch (state) {
    case ModelState::kUnknown:
      return "";
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kReady:
      return "READY";
    case ModelState::kUnloading:
      return "UNLOADING";
    case ModelState::kUnavailable:
      return "UNAVAILABLE";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<ModelRepository>> ModelRepository::Create(
    ModelRepositoryOptions options, std::vector<ServedModelChoice> choices) {
  std::unique_ptr<ModelRepository> made(new ModelRepository(std::move(options)));
  {
    const MutexLock lock(made->mutex_);
    for (ServedModelChoice& choice : choices) {
      SL_ASSIGN_OR_RETURN(std::string name, ServedNameOf(choice.reference));
      Entry entry;
      entry.choice = std::move(choice);
      entry.wanted = true;
      if (!made->entries_.emplace(name, std::move(entry)).second) {
        return InvalidArgument("two models have the name {}: write NEW_NAME=FILE for one of them",
                               name);
      }
    }
  }
  ModelRepository* const raw = made.get();
  SL_ASSIGN_OR_RETURN(made->thread_, StartThread("models", [raw] { raw->Loop(); }));
  return made;
}

ModelRepository::~ModelRepository() { Stop(); }

void ModelRepository::LoadChosen(LoadDone done) {
  struct Progress {
    LoadDone done;
    absl::Status status;
    size_t left = 0;
  };
  const auto progress = std::make_shared<Progress>();
  progress->done = std::move(done);
  std::vector<Task> tasks;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, entry] : entries_) {
      if (!entry.wanted) continue;
      tasks.push_back({name, false, [progress](const absl::Status& status) {
                         if (progress->status.ok()) progress->status = status;
                         if (--progress->left == 0) progress->done(progress->status);
                       }});
    }
    progress->left = tasks.size();
    for (Task& task : tasks) tasks_.push_back(std::move(task));
  }
  if (tasks.empty()) return progress->done(absl::OkStatus());
  work_.NotifyOne();
}

void ModelRepository::Load(const std::string& name, LoadDone done) {
  const auto is_known = [&] {
    const MutexLock lock(mutex_);
    return entries_.contains(name);
  };
  if (options_.load_from_store && CheckModelName(name).ok() && !is_known() &&
      PeekModelPackage(options_.store.FolderOf(name)).ok()) {
    Entry entry;
    entry.choice.reference = name;
    entry.choice.from_store = true;
    const MutexLock lock(mutex_);
    entries_.emplace(name, std::move(entry));  // unless somebody was faster
  }
  Post({name, false, std::move(done)});
}

void ModelRepository::Unload(const std::string& name, LoadDone done) {
  Post({name, true, std::move(done)});
}

void ModelRepository::Post(Task task) {
  absl::Status refused;
  {
    const MutexLock lock(mutex_);
    const auto at = entries_.find(task.name);
    if (at == entries_.end()) {
      refused = NotFound(
          "failed to {} '{}', no such model: it was not chosen when the server began, "
          "nor is it in the model store",
          task.unload ? "unload" : "load", ShownText(task.name, kLongestShown));
    } else if (stopping_) {
      refused = Unavailable("the server is ending");
    } else if (tasks_.size() >= options_.max_waiting) {
      refused = ResourceExhausted("{} models wait to be loaded or unloaded; try again later",
                                  tasks_.size());
    } else {
      if (task.unload) at->second.wanted = false;
      tasks_.push_back(std::move(task));
    }
  }
  if (!refused.ok()) return task.done(refused);
  work_.NotifyOne();
}

void ModelRepository::Loop() {
  while (true) {
    Task task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !stopping_) work_.Wait(mutex_);
      if (stopping_) break;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task.done(task.unload ? UnloadNow(task.name) : LoadNow(task.name));
  }
  std::deque<Task> rest;
  {
    const MutexLock lock(mutex_);
    rest.swap(tasks_);
  }
  for (const Task& task : rest) task.done(Unavailable("the server is ending"));
}

void ModelRepository::Mark(const std::string& name, int64_t version, ModelState state,
                           std::string reason) {
  const MutexLock lock(mutex_);
  Version& entry = entries_[name].versions[version];
  if (entry.model != nullptr) return;  // the earlier one still serves
  entry.state = state;
  entry.reason = std::move(reason);
}

absl::Status ModelRepository::LoadNow(const std::string& name) {
  ServedModelChoice choice;
  {
    const MutexLock lock(mutex_);
    choice = entries_[name].choice;
  }
  std::map<int64_t, std::shared_ptr<ServedModel>> loaded;
  const auto fail = [&](const absl::Status& status, int64_t version) {
    const absl::Status told = WithContext(status, fmt::format("failed to load '{}'", name));
    for (const auto& [good, model] : loaded) {
      Mark(name, good, ModelState::kUnavailable,
           fmt::format("version {} could not be loaded", version));
    }
    Mark(name, version, ModelState::kUnavailable, std::string(MessageOf(status)));
    Log().error("{}", MessageOf(told));
    return told;
  };
  const auto files = choice.from_store
                         ? FindStoredModel(choice.reference, options_.store)
                         : FindModelFiles(choice.reference, choice.all_versions, options_.store);
  if (!files.ok()) return fail(files.status(), 1);
  for (const auto& [version, file] : files->versions) {
    Mark(name, version, ModelState::kLoading, "");
    if (options_.trial && !files->is_described) {
      const absl::Status tried = options_.trial(choice.backend, file);
      if (!tried.ok()) return fail(tried, version);
    }
    const auto backend = options_.backend(choice.backend, file);
    if (!backend.ok()) return fail(backend.status(), version);
    ModelVersionOptions wanted;
    wanted.name = name;
    wanted.version = std::to_string(version);
    wanted.file = file;
    wanted.labels = files->labels;
    wanted.is_described = files->is_described;
    wanted.backend = choice.backend;
    wanted.settings = choice.settings;
    wanted.clock = options_.clock;
    auto model = ServedModel::Open(wanted, **backend);
    if (!model.ok()) return fail(model.status(), version);
    if (before_served_) {
      const auto replaced = Find(name, "");
      const absl::Status prepared =
          before_served_(*model, replaced.ok() ? replaced->get() : nullptr);
      if (!prepared.ok()) {
        (*model)->Stop();
        return fail(prepared, version);
      }
    }
    loaded.emplace(version, *std::move(model));
  }
  // In one step: whoever comes from now on has the new ones.
  std::vector<std::shared_ptr<ServedModel>> retired;
  {
    const MutexLock lock(mutex_);
    entries_[name].wanted = true;
    auto& versions = entries_[name].versions;
    for (auto& [version, entry] : versions) {
      if (entry.model != nullptr) retired.push_back(std::move(entry.model));
      entry = {nullptr, nullptr, ModelState::kUnavailable, "unloaded"};
    }
    for (auto& [version, model] : loaded) {
      versions[version] = {model, make_pictures_ ? make_pictures_(model) : nullptr,
                           ModelState::kReady, ""};
    }
  }
  for (const auto& model : retired) model->Stop();
  Log().info("model {} is ready, version {}", name, loaded.rbegin()->first);
  return absl::OkStatus();
}

absl::Status ModelRepository::UnloadNow(const std::string& name) {
  std::vector<std::pair<int64_t, std::shared_ptr<ServedModel>>> retired;
  {
    const MutexLock lock(mutex_);
    // A load that was under way when this was asked for has made it wanted again.
    entries_[name].wanted = false;
    for (auto& [version, entry] : entries_[name].versions) {
      if (entry.model == nullptr) continue;
      retired.emplace_back(version, std::move(entry.model));
      entry = {nullptr, nullptr, ModelState::kUnloading, ""};
    }
  }
  for (const auto& [version, model] : retired) {
    model->Stop();
    Mark(name, version, ModelState::kUnavailable, "unloaded");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ServedModel>> ModelRepository::Find(std::string_view name,
                                                                   std::string_view version) const {
  int64_t number = 0;
  if (!version.empty()) {
    const char* const end = version.data() + version.size();
    const auto [stop, error] = std::from_chars(version.data(), end, number);
    if (error != std::errc() || stop != end || number < 0) {
      return InvalidArgument(
          "failed to get model version from specified version string '{}': a whole number is "
          "expected",
          ShownText(version, kLongestShown));
    }
  }
  const MutexLock lock(mutex_);
  const Found entry = FindEntry(name);
  if (entry.entry == nullptr) return Unknown(name);
  const auto& versions = entry.entry->versions;
  if (version.empty()) {
    for (auto newest = versions.rbegin(); newest != versions.rend(); ++newest) {
      if (entry.Of(newest->second) != nullptr) return entry.Of(newest->second);
    }
    for (const auto& [ignored, one] : versions) {
      if (one.state == ModelState::kLoading) return Unavailable("model '{}' is being loaded", name);
    }
    return Unavailable("Request for unknown model: '{}' has no available versions", name);
  }
  const auto found = versions.find(number);
  if (found == versions.end()) {
    return NotFound("Request for unknown model: '{}' version {} is not found", name, number);
  }
  if (entry.Of(found->second) != nullptr) return entry.Of(found->second);
  return Unavailable("Request for unknown model: '{}' version {} is not at ready state", name,
                     number);
}

ModelRepository::Found ModelRepository::FindEntry(std::string_view name) const {
  const auto at = entries_.find(name);
  if (at != entries_.end()) return {&at->second, false};
  if (!make_pictures_ || !name.ends_with(kPicturesEnding)) return {};
  name.remove_suffix(kPicturesEnding.size());
  const auto base = entries_.find(name);
  if (base == entries_.end()) return {};
  return {&base->second, true};
}

absl::StatusOr<std::vector<std::shared_ptr<ServedModel>>> ModelRepository::Versions(
    std::string_view name) const {
  const MutexLock lock(mutex_);
  const Found found = FindEntry(name);
  if (found.entry == nullptr) return Unknown(name);
  std::vector<std::shared_ptr<ServedModel>> ready;
  for (const auto& [version, one] : found.entry->versions) {
    if (found.Of(one) != nullptr) ready.push_back(found.Of(one));
  }
  if (!ready.empty()) return ready;
  return Unavailable("Request for unknown model: '{}' has no available versions", name);
}

std::vector<std::shared_ptr<ServedModel>> ModelRepository::All() const {
  std::vector<std::shared_ptr<ServedModel>> all;
  const MutexLock lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    for (const auto& [version, one] : entry.versions) {
      if (one.model != nullptr) all.push_back(one.model);
      if (one.pictures == nullptr || !IsForPictures(one.model.get())) continue;
      if (!entries_.contains(one.pictures->name())) all.push_back(one.pictures);
    }
  }
  return all;
}

absl::StatusOr<std::vector<std::shared_ptr<ServedModel>>> ModelRepository::Select(
    std::string_view name, std::string_view version) const {
  if (name.empty()) return All();
  if (version.empty()) return Versions(name);
  SL_ASSIGN_OR_RETURN(std::shared_ptr<ServedModel> model, Find(name, version));
  return std::vector<std::shared_ptr<ServedModel>>{std::move(model)};
}

std::vector<ModelIndexEntry> ModelRepository::Index(bool ready_only) const {
  std::vector<ModelIndexEntry> index;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, entry] : entries_) {
      if (entry.versions.empty()) index.push_back({name, "", ModelState::kUnknown, ""});
      for (const auto& [version, one] : entry.versions) {
        index.push_back({name, std::to_string(version), one.state, one.reason});
        if (one.pictures == nullptr || !IsForPictures(one.model.get())) continue;
        if (entries_.contains(one.pictures->name())) continue;  // a model of that very name
        index.push_back(
            {name + std::string(kPicturesEnding), std::to_string(version), one.state, ""});
      }
    }
  }
  if (ready_only) {
    std::erase_if(index, [](const auto& entry) { return entry.state != ModelState::kReady; });
    return index;
  }
  if (!options_.load_from_store) return index;
  const auto stored = options_.store.List();
  if (!stored.ok()) return index;
  for (const StoredModel& model : *stored) {
    const bool is_known = std::ranges::any_of(
        index, [&](const ModelIndexEntry& entry) { return entry.name == model.name; });
    if (!is_known && model.status.ok()) {
      index.push_back({model.name, "", ModelState::kUnknown, ""});
    }
  }
  return index;
}

bool ModelRepository::Ready() const {
  const MutexLock lock(mutex_);
  if (stopping_) return false;
  for (const auto& [name, entry] : entries_) {
    if (!entry.wanted) continue;
    const bool ready = std::ranges::any_of(
        entry.versions, [](const auto& version) { return version.second.model != nullptr; });
    if (!ready) return false;
  }
  return true;
}

void ModelRepository::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  for (const auto& model : All()) model->Discard();
}

}  // namespace sightline::serve
