// Finding and loading libopenvino_c, and its C functions by name. Internal to this folder.
#pragma once

#include <openvino/c/openvino.h>
#include <openvino/c/ov_util.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "infer/backends/runtime_library.h"

namespace sightline {

#define SIGHTLINE_OPENVINO_FUNCTIONS(X)          \
  X(ov_get_openvino_version)                     \
  X(ov_version_free)                             \
  X(ov_get_error_info)                           \
  X(ov_get_last_err_msg)                         \
  X(ov_free)                                     \
  X(ov_util_set_log_callback)                    \
  X(ov_core_create)                              \
  X(ov_core_get_available_devices)               \
  X(ov_available_devices_free)                   \
  X(ov_core_read_model)                          \
  X(ov_core_read_model_from_memory_buffer)       \
  X(ov_core_compile_model)                       \
  X(ov_model_free)                               \
  X(ov_model_inputs_size)                        \
  X(ov_model_outputs_size)                       \
  X(ov_model_const_input_by_index)               \
  X(ov_model_const_output_by_index)              \
  X(ov_model_reshape_by_port_indexes)            \
  X(ov_compiled_model_create_infer_request)      \
  X(ov_compiled_model_free)                      \
  X(ov_partial_shape_free)                       \
  X(ov_port_get_any_name)                        \
  X(ov_port_get_element_type)                    \
  X(ov_port_get_partial_shape)                   \
  X(ov_output_const_port_free)                   \
  X(ov_infer_request_set_input_tensor_by_index)  \
  X(ov_infer_request_get_output_tensor_by_index) \
  X(ov_infer_request_infer)                      \
  X(ov_infer_request_free)                       \
  X(ov_tensor_create_from_host_ptr)              \
  X(ov_tensor_get_shape)                         \
  X(ov_tensor_get_element_type)                  \
  X(ov_tensor_data)                              \
  X(ov_tensor_free)                              \
  X(ov_shape_free)

// The functions of the loaded library, under their own names.
struct OpenVinoApi {
#define SIGHTLINE_DECLARE(name) decltype(&::name) name = nullptr;
  SIGHTLINE_OPENVINO_FUNCTIONS(SIGHTLINE_DECLARE)
#undef SIGHTLINE_DECLARE
};

struct OpenVinoLibrary {
  OpenVinoApi api;
  std::string path;
  std::string version;  // "2026.4.1"
};

RuntimeSearch DefaultOpenVinoSearch();

// Loads the first library that is there; it stays loaded. FailedPrecondition when there is none, or
// when the first one that is there cannot be used.
absl::StatusOr<OpenVinoLibrary> LoadOpenVino(const RuntimeSearch& search);

// Objects of the library, freed by the function that belongs to them.
template <typename T>
using OpenVinoOwned = std::unique_ptr<T, void (*)(T*)>;

// The library's own words for what went wrong last on this thread, without its source positions.
std::string OpenVinoWords(const OpenVinoApi& api, ov_status_e status);

}  // namespace sightline
