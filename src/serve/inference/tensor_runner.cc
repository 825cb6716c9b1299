#include "serve/inference/tensor_runner.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "serve/inference/classification.h"
#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

// Whether both can be rows of one run: everything but the first dimensions is equal.
bool SameRows(const InferCall& a, const InferCall& b) {
  for (size_t port = 0; port < a.inputs.size(); ++port) {
    const auto& x = a.input(port).shape;
    const auto& y = b.input(port).shape;
    if (x.size() != y.size() || !std::equal(x.begin() + 1, x.end(), y.begin() + 1)) return false;
  }
  return true;
}

absl::Status CopyInput(const InferInput& input, char* to) {
  if (input.shared.region) {
    return WithContext(input.shared.region->Read(input.shared.offset, input.shared.bytes, to),
                       fmt::format("input \"{}\"", input.name));
  }
  const std::string_view from = input.memory();
  std::memcpy(to, from.data(), from.size());
  return absl::OkStatus();
}

// The bytes of strings that lie in shared memory.
absl::StatusOr<std::string> ReadStrings(const InferInput& input, int64_t count) {
  std::string bytes(input.shared.bytes, '\0');
  SL_RETURN_IF_ERROR(CopyInput(input, bytes.data()));
  // Looked at in the copy: what lies in shared memory may change at any time.
  SL_RETURN_IF_ERROR(
      WithContext(CheckStrings(bytes, count), fmt::format("input \"{}\"", input.name)));
  return bytes;
}

}  // namespace

void TensorRunner::Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) {
  waiting_.clear();
  const int64_t now_us = Now();
  for (size_t i = 0; i < batch.size(); ++i) {
    auto* const call = static_cast<InferCall*>(batch[i]);
    call->times.began_us = now_us;
    if (call->request.gone && call->request.gone()) {
      statuses[i] = Cancelled("nobody waits for the answer any more");
    } else {
      waiting_.push_back({call, &statuses[i]});
    }
  }
  while (!waiting_.empty()) {
    together_.clear();
    later_.clear();
    int64_t rows = 0;
    for (const Place& place : waiting_) {
      const bool fits = together_.empty() || (rows + place.call->rows <= options_.max_rows &&
                                              SameRows(*together_[0].call, *place.call));
      if (fits) rows += place.call->rows;
      (fits ? together_ : later_).push_back(place);
    }
    RunTogether(together_);
    waiting_.swap(later_);
  }
}

void TensorRunner::RunTogether(std::span<const Place> places) {
  absl::Status status;
  try {
    status = TryTogether(places);
  } catch (const std::bad_alloc&) {
    status = ResourceExhausted("no memory for the request; try again later");
    for (const Place& place : places) place.call->response.outputs.clear();
  }
  if (status.ok()) return;
  if (places.size() > 1) {
    for (const Place& place : places) {
      if (place.status->ok()) RunTogether({&place, 1});
    }
  } else if (places[0].status->ok()) {
    *places[0].status = status;
  }
}

absl::Status TensorRunner::TryTogether(std::span<const Place> places) {
  int64_t rows = 0;
  for (const Place& place : places) rows += place.call->rows;
  CallTimes times;
  times.began_us = Now();
  absl::Status status = Fill(places, rows);
  times.filled_us = Now();
  absl::StatusOr<std::span<const TensorView>> views = std::span<const TensorView>();
  if (status.ok()) {
    views = session_->Run();
    status = views.status();
  }
  times.ran_us = Now();
  if (!status.ok()) return status;
  Empty(places, rows, *views);
  times.emptied_us = Now();
  for (const Place& place : places) {
    // From the beginning of the whole batch on, of which the others' runs are a part.
    place.call->times.began_us = times.began_us;
    place.call->times.filled_us = times.filled_us;
    place.call->times.ran_us = times.ran_us;
    place.call->times.emptied_us = times.emptied_us;
  }
  options_.statistics->Executed(options_.max_rows > 0 ? rows : 1, times);
  return absl::OkStatus();
}

absl::Status TensorRunner::Fill(std::span<const Place> places, int64_t rows) {
  for (size_t port = 0; port < session_->inputs().size(); ++port) {
    SL_RETURN_IF_ERROR(FillPort(port, places, rows));
  }
  return absl::OkStatus();
}

absl::Status TensorRunner::FillPort(size_t port, std::span<const Place> places, int64_t rows) {
  shape_ = places[0].call->input(port).shape;
  if (options_.max_rows > 0) shape_[0] = rows;
  SL_ASSIGN_OR_RETURN(const int64_t elements, CountElements(shape_));
  if (session_->inputs()[port].dtype == DataType::kString) {
    SL_ASSIGN_OR_RETURN(const std::span<std::string> to, session_->InputStrings(port, shape_));
    size_t at = 0;
    for (const Place& place : places) {
      const InferInput& input = place.call->input(port);
      const int64_t count = options_.max_rows > 0 ? elements / rows * place.call->rows : elements;
      std::string copy;
      std::string_view bytes = input.memory();
      if (input.shared.region) {
        absl::StatusOr<std::string> read = ReadStrings(input, count);
        if (!read.ok() && place.status->ok()) *place.status = read.status();
        copy = read.ok() ? *std::move(read) : std::string(4 * static_cast<size_t>(count), '\0');
        bytes = copy;
      }
      for (int64_t i = 0; i < count; ++i) to[at++] = TakeString(bytes);
    }
    return absl::OkStatus();
  }
  if (places.size() == 1 && !places[0].call->input(port).shared.region) {
    const void* const memory = places[0].call->input(port).memory().data();
    SL_ASSIGN_OR_RETURN(const bool is_lent, session_->LendInput(port, shape_, memory));
    if (is_lent) return absl::OkStatus();
  }
  SL_ASSIGN_OR_RETURN(void* const memory, session_->InputBuffer(port, shape_));
  auto* to = static_cast<char*>(memory);
  for (const Place& place : places) {
    const InferInput& input = place.call->input(port);
    const absl::Status copied = CopyInput(input, to);
    if (!copied.ok()) {  // the others run all the same
      std::memset(to, 0, input.size());
      if (place.status->ok()) *place.status = copied;
    }
    to += input.size();
  }
  return absl::OkStatus();
}

void TensorRunner::Empty(std::span<const Place> places, int64_t rows,
                         std::span<const TensorView> views) {
  int64_t row = 0;
  for (const Place& place : places) {
    InferCall& call = *place.call;
    for (const InferCall::Wanted& wanted : call.outputs) {
      if (!place.status->ok()) break;
      *place.status = TakeOutput(views[wanted.output], wanted, row, rows, call);
    }
    row += call.rows;
  }
}

absl::Status TensorRunner::TakeOutput(const TensorView& view, const InferCall::Wanted& wanted,
                                      int64_t first_row, int64_t all_rows, InferCall& call) const {
  InferOutput& output = call.response.outputs.emplace_back();
  output.name = session_->outputs()[wanted.output].name;
  output.dtype = view.dtype;
  output.shape = view.shape;
  const bool in_rows = options_.max_rows > 0;
  if (in_rows && (view.shape.empty() || view.shape[0] != all_rows)) {
    return Internal(
        "output \"{}\" has the shape [{}] where {} rows were given: the model cannot run "
        "in batches; max_batch: 0 in the configuration says so",
        output.name, fmt::join(view.shape, ","), all_rows);
  }
  SL_ASSIGN_OR_RETURN(int64_t count, CountElements(view.shape));
  int64_t first = 0;
  if (in_rows) {
    const int64_t per_row = count / all_rows;
    first = per_row * first_row;
    count = per_row * call.rows;
    output.shape[0] = call.rows;
  }
  const size_t size = SizeOf(view.dtype);
  const int64_t rows = in_rows ? call.rows : 1;
  if (wanted.classes > 0) {
    SL_RETURN_IF_ERROR(
        Classify(view, first, count, rows, wanted.classes, options_.labels.get(), output.bytes));
    output.dtype = DataType::kString;
    const int64_t classes = std::min<int64_t>(wanted.classes, count / std::max<int64_t>(1, rows));
    output.shape =
        in_rows ? std::vector<int64_t>{call.rows, classes} : std::vector<int64_t>{classes};
  } else if (view.dtype == DataType::kString) {
    const auto* texts = static_cast<const std::string*>(view.data);
    for (int64_t i = first; i < first + count; ++i) AppendString(texts[i], output.bytes);
  } else if (size == 0) {
    return Internal("output \"{}\" has an element type that the protocol cannot carry",
                    output.name);
  } else {
    const char* from = static_cast<const char*>(view.data) + static_cast<size_t>(first) * size;
    const std::string_view bytes(from, static_cast<size_t>(count) * size);
    if (wanted.shared.region) return WriteShared(bytes, wanted.shared, output);
    output.bytes = bytes;
    return absl::OkStatus();
  }
  if (!wanted.shared.region) return absl::OkStatus();
  const std::string bytes = std::exchange(output.bytes, {});
  return WriteShared(bytes, wanted.shared, output);
}

}  // namespace sightline::serve
