/* What the engine and libsightline_torchscript.so say to each other: plain C, so that a library built
 * with one compiler and one libtorch serves a program built with another, and none of libtorch's names
 * and exceptions come into the engine. Internal to this folder.
 *
 * Every function may be called from several threads at once, and none throws. Where a function takes
 * `error`, it writes one zero-terminated message of at most `error_bytes` there when it fails. */
#ifndef SIGHTLINE_TORCHSCRIPT_ABI_H_
#define SIGHTLINE_TORCHSCRIPT_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of what stands here. */
enum { SIGHTLINE_TORCHSCRIPT_ABI = 1 };

enum SightlineTorchElement {
  SIGHTLINE_TORCH_OTHER = 0,
  SIGHTLINE_TORCH_FLOAT32 = 1,
  SIGHTLINE_TORCH_FLOAT16 = 2,
  SIGHTLINE_TORCH_UINT8 = 3,
  SIGHTLINE_TORCH_INT64 = 4,
  SIGHTLINE_TORCH_INT32 = 5,
  SIGHTLINE_TORCH_BOOL = 6
};

/* C-contiguous, in the processor's memory. */
typedef struct SightlineTorchTensor {
  int32_t element; /* SightlineTorchElement */
  int32_t rank;
  const int64_t* shape;
  void* data;
} SightlineTorchTensor;

typedef struct SightlineTorchModel SightlineTorchModel;
typedef struct SightlineTorchResult SightlineTorchResult;

int32_t sightline_torchscript_abi(void);
/* Of libtorch, as that was built with: "1.13.1". */
const char* sightline_torchscript_version(void);

/* The model in a file's bytes, which are not needed afterwards; null when it cannot be loaded, or takes
 * or gives what is no tensor. */
SightlineTorchModel* sightline_torchscript_open(const void* bytes, size_t size, char* error,
                                                size_t error_bytes);
void sightline_torchscript_close(SightlineTorchModel* model);

/* Tensors that the model has to be given, and that it gives: a tuple is as many outputs as it has
 * tensors, in order. Their shapes stand nowhere. */
int32_t sightline_torchscript_inputs(const SightlineTorchModel* model);
const char* sightline_torchscript_input_name(const SightlineTorchModel* model, int32_t index);
int32_t sightline_torchscript_outputs(const SightlineTorchModel* model);
/* Element type of the weights, which is that of pictures for the model; FLOAT32 when it has none. */
int32_t sightline_torchscript_element(const SightlineTorchModel* model);

/* Runs the model with so many threads on as many tensors as it takes; null when it fails. */
SightlineTorchResult* sightline_torchscript_run(SightlineTorchModel* model, int32_t threads,
                                                const SightlineTorchTensor* inputs, char* error,
                                                size_t error_bytes);
/* As many as the model has outputs; `data` is null where a tensor has no elements. Valid until the
 * result is freed. */
SightlineTorchTensor sightline_torchscript_output(const SightlineTorchResult* result,
                                                  int32_t index);
void sightline_torchscript_free(SightlineTorchResult* result);

#ifdef __cplusplus
}
#endif

#endif /* SIGHTLINE_TORCHSCRIPT_ABI_H_ */
