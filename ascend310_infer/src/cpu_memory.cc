#include "cpu_memory.h"

#include <cstdlib>

namespace {
constexpr size_t kMostKept = size_t{256} << 20;  // bytes
}  // namespace

CpuMemory::CpuMemory() { aligned_size_ = 64; }  // of the widest registers

CpuMemory::~CpuMemory() {
  for (const auto &[address, block] : used_) {
    std::free(address);
  }
  for (const Block &block : kept_) {
    std::free(block.address);
  }
}

void *CpuMemory::Malloc(size_t size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  void *address = Reuse(size);
  // with room behind it, for kernels that read whole registers
  if (address == nullptr && posix_memalign(&address, aligned_size_, size + aligned_size_) == 0) {
    used_[address] = {address, size, 0};
  }
  return address;
}

// A block that is kept, no more than twice as large; nullptr: none fits.
void *CpuMemory::Reuse(size_t size) {
  auto best = kept_.end();
  for (auto block = kept_.begin(); block != kept_.end(); ++block) {
    if (block->size >= size && block->size / 2 <= size && (best == kept_.end() || block->size < best->size)) {
      best = block;
    }
  }
  if (best == kept_.end()) {
    return nullptr;
  }
  void *address = best->address;
  used_[address] = {address, best->size, 0};
  kept_bytes_ -= best->size;
  kept_.erase(best);
  return address;
}

void CpuMemory::Free(void *address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = used_.find(address);
  if (entry == used_.end()) {
    std::free(address);  // of the runtime's malloc(), as its own pool takes it too
    return;
  }
  const Block block = entry->second;
  used_.erase(entry);
  if (block.size > kMostKept) {  // it would drive out all others
    std::free(address);
    return;
  }
  kept_.push_back(block);
  kept_bytes_ += block.size;
  while (kept_bytes_ > kMostKept) {
    kept_bytes_ -= kept_.front().size;
    std::free(kept_.front().address);
    kept_.pop_front();
  }
}

int CpuMemory::RefCount(void *address) { return IncRefCount(address, 0); }

int CpuMemory::SetRefCount(void *address, int count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = used_.find(address);
  return entry == used_.end() ? -1 : entry->second.count = count;
}

int CpuMemory::IncRefCount(void *address, int by) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = used_.find(address);
  return entry == used_.end() ? -1 : entry->second.count += by;
}
