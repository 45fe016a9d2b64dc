// What all operators share: MindSpore's interface for operators in C++, threads, memory, products of matrices.
#ifndef UTILS_CPU_OPS_COMMON_H_
#define UTILS_CPU_OPS_COMMON_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

// MindSpore's AotExtra as far as we use it: the order of its virtual functions is their place in the table
// (mindspore/include/mindspore/ccsrc/utils/custom_aot_extra.h). TESTED in build.py names the versions that have it.
class AotExtra {
 public:
  virtual ~AotExtra() = default;
  virtual bool HasAttr(std::string name) = 0;
  virtual bool GetAttrBool(std::string name) = 0;
  virtual int64_t GetAttrInt(std::string name) = 0;
  virtual float GetAttrFloat(std::string name) = 0;
  virtual std::string GetAttrStr(std::string name) = 0;
  virtual std::vector<int64_t> GetAttrIntVec(std::string name) = 0;
};

using Shape = std::vector<int64_t>;
using Shapes = std::vector<Shape>;

inline std::vector<int64_t> Settings(void *extra) { return static_cast<AotExtra *>(extra)->GetAttrIntVec("settings"); }

// Whether the products of matrices take bfloat16.
inline bool IsBFloat16(void *extra) { return static_cast<AotExtra *>(extra)->GetAttrBool("bfloat16"); }

// The shape of tensor i of an operator.
inline Shape ShapeOf(int i, const int *ndims, int64_t **shapes) { return Shape(shapes[i], shapes[i] + ndims[i]); }

inline int64_t Product(const int64_t *shape, int count) {
  int64_t product = 1;
  for (int i = 0; i < count; ++i) product *= shape[i];
  return product;
}

// Uninitialised memory.
template <typename Number>
using Numbers = std::unique_ptr<Number[]>;
template <typename Number>
Numbers<Number> AllocateOf(int64_t size) {
  return Numbers<Number>(new Number[size]);
}
using Memory = Numbers<float>;
inline Memory Allocate(int64_t size) { return AllocateOf<float>(size); }

// The upper half of a float. Matrices of a product are of these or of floats; its sums are floats.
struct BFloat16 {
  uint16_t bits;
};

// x as a Number: itself, or the nearest bfloat16, of two the even one.
template <typename Number>
inline Number Rounded(float x);
template <>
inline float Rounded<float>(float x) {
  return x;
}
template <>
inline BFloat16 Rounded<BFloat16>(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const uint32_t nearest = bits + 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>((x == x ? nearest : bits | 0x400000) >> 16)};  // or what is no number becomes infinite
}

template <typename Number>
inline void Round(const float *from, int64_t count, Number *to) {
  for (int64_t i = 0; i < count; ++i) to[i] = Rounded<Number>(from[i]);
}

// Numbers that a product takes, as what it takes: they themselves, or rounded into `own`.
inline const float *Matrix(const float *from, int64_t, Memory *) { return from; }
inline const BFloat16 *Matrix(const float *from, int64_t size, Numbers<BFloat16> *own) {
  *own = AllocateOf<BFloat16>(size);
  Round(from, size, own->get());
  return own->get();
}

// A matrix (rows, columns) whose rows are `stride` apart, likewise; after it they are `*stride` apart.
inline const float *Matrix(const float *from, int64_t, int64_t, int64_t *, Memory *) { return from; }
inline const BFloat16 *Matrix(const float *from, int64_t rows, int64_t columns, int64_t *stride,
                              Numbers<BFloat16> *own) {
  *own = AllocateOf<BFloat16>(rows * columns);
  for (int64_t row = 0; row < rows; ++row) Round(from + row * *stride, columns, own->get() + row * columns);
  *stride = columns;
  return own->get();
}

// Calls task(i) for every i < count, on all threads. What a task computes must not depend on the others.
void Parallel(int64_t count, const std::function<void(int64_t)> &task);

// How many threads these are.
int64_t Threads();

// Into how many parts `size` channels go so that `items` of them give every thread work.
inline int64_t Parts(int64_t items, int64_t size) {
  const int64_t threads = Threads();
  return items >= threads ? 1 : std::min<int64_t>(threads, size);
}

// Calls task(block, first, last) for stretches of `size` numbers, on all threads.
constexpr int64_t kBlock = 1 << 16;
inline int64_t Blocks(int64_t size) { return (size + kBlock - 1) / kBlock; }

template <typename Task>
void InBlocks(int64_t size, const Task &task) {
  Parallel(Blocks(size), [&](int64_t block) { task(block, block * kBlock, std::min(size, (block + 1) * kBlock)); });
}

// As Matrix, on all threads.
inline const float *SharedMatrix(const float *from, int64_t, Memory *) { return from; }
inline const BFloat16 *SharedMatrix(const float *from, int64_t size, Numbers<BFloat16> *own) {
  *own = AllocateOf<BFloat16>(size);
  InBlocks(size, [&](int64_t, int64_t first, int64_t last) { Round(from + first, last - first, own->get() + first); });
  return own->get();
}

// A matrix (rows, columns), whose rows are `stride` apart, turned: (columns, rows). By squares, that are copied first:
// at widths of a power of two the rows of a square would push one another out of the cache.
template <typename Number>
void Turn(const float *matrix, int64_t rows, int64_t columns, int64_t stride, Number *turned) {
  constexpr int64_t kSide = 16;
  float square[kSide][kSide];
  for (int64_t i = 0; i < rows; i += kSide) {
    const int64_t height = std::min(kSide, rows - i);
    for (int64_t j = 0; j < columns; j += kSide) {
      const int64_t width = std::min(kSide, columns - j);
      for (int64_t row = 0; row < height; ++row) std::copy_n(matrix + (i + row) * stride + j, width, square[row]);
      for (int64_t column = 0; column < width; ++column) {
        Number *to = turned + (j + column) * rows + i;
        for (int64_t row = 0; row < height; ++row) to[row] = Rounded<Number>(square[row][column]);
      }
    }
  }
}

template <typename Number>
Numbers<Number> Turned(const float *matrix, int64_t rows, int64_t columns) {
  Numbers<Number> turned = AllocateOf<Number>(rows * columns);
  Turn(matrix, rows, columns, columns, turned.get());
  return turned;
}

// MindSpore's own oneDNN, for row-major matrices.
extern "C" int dnnl_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                          int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
extern "C" int dnnl_gemm_bf16bf16f32(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha,
                                     const BFloat16 *a, int64_t lda, const BFloat16 *b, int64_t ldb, float beta,
                                     float *c, int64_t ldc);

// c = a b + beta c of one thread, a (m, k), b (k, n).
inline void Multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                     float beta, float *c, int64_t ldc) {
  dnnl_sgemm('N', 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}
inline void Multiply(int64_t m, int64_t n, int64_t k, const BFloat16 *a, int64_t lda, const BFloat16 *b, int64_t ldb,
                     float beta, float *c, int64_t ldc) {
  dnnl_gemm_bf16bf16f32('N', 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

// c = a b^T + beta c of one thread, a (m, k), b (n, k).
inline void MultiplyTransposed(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                               int64_t ldb, float beta, float *c, int64_t ldc) {
  dnnl_sgemm('N', 'T', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}
inline void MultiplyTransposed(int64_t m, int64_t n, int64_t k, const BFloat16 *a, int64_t lda, const BFloat16 *b,
                               int64_t ldb, float beta, float *c, int64_t ldc) {
  dnnl_gemm_bf16bf16f32('N', 'T', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

// c = a^T b + beta c of one thread, a (k, m), b (k, n).
inline void MultiplyFirstTransposed(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                                    int64_t ldb, float beta, float *c, int64_t ldc) {
  dnnl_sgemm('T', 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}
inline void MultiplyFirstTransposed(int64_t m, int64_t n, int64_t k, const BFloat16 *a, int64_t lda, const BFloat16 *b,
                                    int64_t ldb, float beta, float *c, int64_t ldc) {
  dnnl_gemm_bf16bf16f32('T', 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

// The sum over t < count of visit(t).
template <typename Visit>
double Sum(int64_t count, const Visit &visit) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < count; ++t) sum += visit(t);
  return sum;
}

// e^x to 2e-7, and NaN for NaN, in a form that compilers turn into vector instructions (the polynomial is that of the
// Cephes library).
inline float Exp(float x) {
  x = std::min(std::max(x, -87.0f), 88.0f);
  const float shifted = x * 1.44269504f + 12582912.0f;  // whose last bits are the whole number, as 1.5 * 2^23
  const float whole = shifted - 12582912.0f;
  const float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  float value = 1.9875691500e-4f;
  value = value * rest + 1.3981999507e-3f;
  value = value * rest + 8.3334519073e-3f;
  value = value * rest + 4.1665795894e-2f;
  value = value * rest + 1.6666665459e-1f;
  value = value * rest + 5.0000001201e-1f;
  value = value * rest * rest + rest + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;  // without a conversion, which NaN has none for
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return value * power;
}

// What turns sums over the frames of an item into means: mask (items, frames) divided by its sum, 0 for padding.
inline std::vector<float> Shares(const float *mask, int64_t items, int64_t frames) {
  std::vector<float> shares(mask, mask + items * frames);
  for (int64_t item = 0; item < items; ++item) {
    const auto begin = shares.begin() + item * frames, end = begin + frames;
    const float count = static_cast<float>(std::accumulate(begin, end, 0.0));
    for (auto share = begin; share != end; ++share) *share /= count;
  }
  return shares;
}

// x where positive, else slope x.
inline float ParametricRelu(float x, float slope) { return std::max(x, 0.0f) + slope * std::min(x, 0.0f); }

// 1 / deviation in a global layer norm; under the root asteroid's and kaituoxu's epsilon.
inline float InverseDeviation(double variance) {
  return static_cast<float>(1.0 / std::sqrt(std::max(variance, 0.0) + 1e-8));
}

#endif  // UTILS_CPU_OPS_COMMON_H_
