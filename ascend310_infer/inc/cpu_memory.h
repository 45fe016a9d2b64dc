// The memory of a graph on a CPU.
#ifndef ASCEND310_INFER_INC_CPU_MEMORY_H_
#define ASCEND310_INFER_INC_CPU_MEMORY_H_

#include <cstddef>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "include/api/allocator.h"

// Keeps what was freed last for the next run, and gives the rest back. The pool of MindSpore Lite keeps everything:
// blocks for other lengths, and those beyond 4 GB it never uses again, though a convolution of it asks for 5 GB for 20
// s of sound and writes to almost none of it. It fails when all of them together are more than the machine has.
class CpuMemory : public mindspore::Allocator {
 public:
  using mindspore::Allocator::Malloc;

  CpuMemory();
  ~CpuMemory() override;
  CpuMemory(const CpuMemory &) = delete;
  CpuMemory &operator=(const CpuMemory &) = delete;

  void *Malloc(size_t size) override;  // nullptr where there is none
  void Free(void *address) override;

  // How often a block is referred to, which the runtime counts; -1: not one of these blocks.
  int RefCount(void *address) override;
  int SetRefCount(void *address, int count) override;
  int IncRefCount(void *address, int by) override;
  int DecRefCount(void *address, int by) override { return IncRefCount(address, -by); }

 private:
  struct Block {
    void *address;
    size_t size;
    int count;
  };

  void *Reuse(size_t size);

  std::mutex mutex_;
  std::unordered_map<void *, Block> used_;
  std::deque<Block> kept_;  // in the order in which they were freed
  size_t kept_bytes_ = 0;
};

#endif  // ASCEND310_INFER_INC_CPU_MEMORY_H_
