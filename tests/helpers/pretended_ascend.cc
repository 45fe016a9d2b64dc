// An Ascend with one compiled model, in the place of CANN's runtime (AscendCL): whatever file is loaded, it computes
// y = 2 x[:, ::2] and m = n of x (1, T, 3) float32 and n (1,) int32, for T of 8 or 16, its gears. What it is asked to
// do is printed on standard error. To be preloaded: what is not here comes from other stubs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {
constexpr int64_t kGears[] = {8, 16};
constexpr int64_t kChannels = 3;
constexpr int kFloat = 0, kInt32 = 3, kAnyFormat = 2, kHost = 1;  // as CANN numbers them
constexpr char kGearInput[] = "ascend_mbatch_shape_data";         // an input more, that says which gear it is
int64_t gear = 0;                                                 // none yet: a model with gears waits for one

struct Buffer {
  void *data;
  size_t size;
};

struct Dims {
  char name[128];
  size_t count;
  int64_t sizes[128];

  void Set(const char *text, const std::vector<int64_t> &values) {
    std::strcpy(name, text);
    count = values.size();
    std::memcpy(sizes, values.data(), count * sizeof(int64_t));
  }
};

using DataSet = std::vector<Buffer *>;
}  // namespace

extern "C" {
// the device and its memory, which is the machine's
int aclInit(const char *) { return 0; }
int aclFinalize() { return 0; }
int aclrtGetDeviceCount(uint32_t *count) { return *count = 4, 0; }
int aclrtSetDevice(int number) { return fprintf(stderr, "device %d\n", number), 0; }
int aclrtResetDevice(int) { return 0; }
int aclrtCreateContext(void **context, int) { return *context = &gear, 0; }
int aclrtDestroyContext(void *) { return 0; }
int aclrtSetCurrentContext(void *) { return 0; }
int aclrtGetRunMode(int *mode) { return *mode = kHost, 0; }
int aclrtMalloc(void **data, size_t size, int) { return *data = std::malloc(size), 0; }
int aclrtMallocHost(void **data, size_t size) { return *data = std::malloc(size), 0; }
int aclrtFree(void *data) { return std::free(data), 0; }
int aclrtFreeHost(void *data) { return std::free(data), 0; }
int aclrtMemcpy(void *target, size_t room, const void *source, size_t size, int) {
  return size > room ? 1 : (std::memcpy(target, source, size), 0);
}
const char *aclrtGetSocName() { return "Ascend310P3"; }

// tensors
Buffer *aclCreateDataBuffer(void *data, size_t size) { return new Buffer{data, size}; }
int aclDestroyDataBuffer(Buffer *buffer) { return delete buffer, 0; }
int aclUpdateDataBuffer(Buffer *buffer, void *data, size_t size) { return *buffer = {data, size}, 0; }
void *aclGetDataBufferAddr(const Buffer *buffer) { return buffer->data; }
void *aclCreateTensorDesc(int, int, const int64_t *, int) { return std::malloc(1); }
void aclDestroyTensorDesc(void *description) { std::free(description); }
size_t aclDataTypeSize(int) { return 4; }
DataSet *aclmdlCreateDataset() { return new DataSet; }
int aclmdlDestroyDataset(DataSet *set) { return delete set, 0; }
int aclmdlAddDatasetBuffer(DataSet *set, Buffer *buffer) { return set->push_back(buffer), 0; }
size_t aclmdlGetDatasetNumBuffers(const DataSet *set) { return set->size(); }
Buffer *aclmdlGetDatasetBuffer(const DataSet *set, size_t index) { return (*set)[index]; }
int aclmdlSetDatasetTensorDesc(DataSet *, void *, size_t) { return 0; }

// the model
void *aclmdlCreateDesc() { return std::malloc(1); }
int aclmdlDestroyDesc(void *description) { return std::free(description), 0; }
int aclmdlGetDesc(void *, uint32_t) { return 0; }
int aclmdlLoadFromMem(const void *, size_t, uint32_t *model) { return *model = 1, 0; }
int aclmdlUnload(uint32_t) { return 0; }
size_t aclmdlGetNumInputs(void *) { return 3; }
size_t aclmdlGetNumOutputs(void *) { return 2; }
const char *aclmdlGetInputNameByIndex(void *, size_t index) { return index == 0 ? "x" : index == 1 ? "n" : kGearInput; }
const char *aclmdlGetOutputNameByIndex(void *, size_t index) { return index == 0 ? "y" : "m"; }
int aclmdlGetInputIndexByName(void *, const char *name, size_t *index) {
  return *index = 2, std::strcmp(name, kGearInput);
}
int aclmdlGetInputDims(void *description, size_t index, Dims *dims) {
  dims->Set(aclmdlGetInputNameByIndex(description, index),
            index == 0 ? std::vector<int64_t>{1, -1, kChannels} : std::vector<int64_t>{1});
  return 0;
}
int aclmdlGetInputDimsV2(void *description, size_t index, Dims *dims) {
  return aclmdlGetInputDims(description, index, dims);
}
int aclmdlGetOutputDims(void *description, size_t index, Dims *dims) {  // the largest
  dims->Set(aclmdlGetOutputNameByIndex(description, index),
            index == 0 ? std::vector<int64_t>{1, kGears[1] / 2, kChannels} : std::vector<int64_t>{1});
  return 0;
}
int aclmdlGetCurOutputDims(void *description, size_t index, Dims *dims) {
  aclmdlGetOutputDims(description, index, dims);
  if (index == 0) {
    dims->sizes[1] = gear / 2;
  }
  return 0;
}
size_t aclmdlGetInputSizeByIndex(void *, size_t index) { return index == 0 ? kGears[1] * kChannels * 4 : 4; }
size_t aclmdlGetOutputSizeByIndex(void *, size_t index) { return index == 0 ? kGears[1] / 2 * kChannels * 4 : 4; }
int aclmdlGetInputDataType(void *, size_t index) { return index == 0 ? kFloat : kInt32; }
int aclmdlGetOutputDataType(void *, size_t index) { return index == 0 ? kFloat : kInt32; }
int aclmdlGetInputFormat(void *, size_t) { return kAnyFormat; }
int aclmdlGetOutputFormat(void *, size_t) { return kAnyFormat; }

// what is asked of models of other kinds only
size_t aclGetTensorDescSize(void *) { return 0; }
size_t aclGetTensorDescNumDims(void *) { return 0; }
int64_t aclGetTensorDescDim(void *, size_t) { return 0; }
void *aclmdlGetDatasetTensorDesc(const DataSet *, size_t) { return nullptr; }
int aclmdlSetDynamicBatchSize(uint32_t, DataSet *, size_t, uint64_t) { return 1; }
int aclmdlSetDynamicHWSize(uint32_t, DataSet *, size_t, uint64_t, uint64_t) { return 1; }

// its gears: of dimensions, not of batches or images
int aclmdlGetDynamicBatch(void *, size_t *count) { return *count = 0, 0; }
int aclmdlGetDynamicHW(void *, size_t, size_t *count) { return *count = 0, 0; }
int aclmdlGetInputDynamicGearCount(void *, size_t, size_t *count) { return *count = 2, 0; }
int aclmdlGetInputDynamicDims(void *, size_t, Dims *dims, size_t) {
  dims[0].Set("", {1, kGears[0], kChannels, 1});
  dims[1].Set("", {1, kGears[1], kChannels, 1});
  return 0;
}
int aclmdlSetInputDynamicDims(uint32_t, DataSet *, size_t, const Dims *dims) {
  gear = dims->sizes[1];
  fprintf(stderr, "gear %ld\n", gear);
  return gear != kGears[0] && gear != kGears[1];
}
int aclmdlExecute(uint32_t, const DataSet *inputs, DataSet *outputs) {
  const Buffer &x = *(*inputs)[0], &n = *(*inputs)[1], &y = *(*outputs)[0], &m = *(*outputs)[1];
  const auto rows = static_cast<size_t>(gear);
  if (gear == 0 || x.size != rows * kChannels * 4 || y.size != rows / 2 * kChannels * 4) {
    return 1;
  }
  for (int64_t i = 0; i < gear / 2 * kChannels; ++i) {
    static_cast<float *>(y.data)[i] =
        2 * static_cast<const float *>(x.data)[i / kChannels * 2 * kChannels + i % kChannels];
  }
  std::memcpy(m.data, n.data, 4);
  return 0;
}
}
