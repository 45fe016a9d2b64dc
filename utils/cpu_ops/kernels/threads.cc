// The threads that share the work of an operator.
//
// Not OpenMP's: those keep spinning for a while after their work, on the cores that MindSpore's threads need next
// (benchmarks/README.md).
#include <malloc.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "common.h"

namespace {
class Pool {
 public:
  // Never deleted: its threads wait until the process ends.
  static Pool &Get() {
    static Pool *pool = new Pool;
    return *pool;
  }

  int64_t threads() const { return threads_; }

  void Run(int64_t count, const std::function<void(int64_t)> &task) {
    const std::lock_guard<std::mutex> one_at_a_time(callers_);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      count_ = count;
      next_ = 0;
      working_ = threads_ - 1;
      ++round_;
    }
    wake_.notify_all();
    Work(task, count);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return working_ == 0; });
  }

 private:
  // As many as CPU_OPS_THREADS says, else as the cores that this process may use.
  Pool() {
    const char *wanted = std::getenv("CPU_OPS_THREADS");
    cpu_set_t cores;
    threads_ = wanted && std::atoi(wanted) > 0                    ? std::atoi(wanted)
               : sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores)
                                                                  : 1;
    // operators ask for the same memory at every step: what is freed stays here, or the kernel clears it every time
    mallopt(M_MMAP_THRESHOLD, 1 << 25);
    mallopt(M_TRIM_THRESHOLD, 1 << 29);
    for (int64_t i = 1; i < threads_; ++i) std::thread(&Pool::Wait, this).detach();
  }

  void Wait() {
    for (uint64_t seen = 0;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      const auto &task = *task_;
      const int64_t count = count_;
      lock.unlock();
      Work(task, count);
      lock.lock();
      if (--working_ == 0) done_.notify_one();
    }
  }

  void Work(const std::function<void(int64_t)> &task, int64_t count) {
    for (int64_t i = next_++; i < count; i = next_++) task(i);
  }

  int64_t threads_;
  std::mutex callers_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)> *task_ = nullptr;
  int64_t count_ = 0, working_ = 0;
  uint64_t round_ = 0;
  std::atomic<int64_t> next_{0};
};
}  // namespace

int64_t Threads() { return Pool::Get().threads(); }

void Parallel(int64_t count, const std::function<void(int64_t)> &task) {
  if (count > 1 && Threads() > 1) {
    Pool::Get().Run(count, task);
  } else {
    for (int64_t i = 0; i < count; ++i) task(i);
  }
}
