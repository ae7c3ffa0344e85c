#include "plimsoll/alloc/base/check.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace plimsoll::base {
namespace {

std::atomic<FatalHook> fatal_hook{nullptr};
std::atomic<long> failing_thread{0};  // 0: nobody has failed

}  // namespace

void SetFatalHook(FatalHook hook) { fatal_hook.store(hook, std::memory_order_release); }

void FatalText(const RawText& text) {
  const long self = syscall(SYS_gettid);
  long first = 0;
  if (!failing_thread.compare_exchange_strong(first, self, std::memory_order_acq_rel)) {
    // A failure within the hook ends at once; another thread leaves the first a second to finish.
    if (first != self) sleep(1);
    _exit(2);
  }
  RawText line;
  line.Add("fatal error: ");
  line.Add(text.view());
  RawLogText(line);
  if (FatalHook hook = fatal_hook.load(std::memory_order_acquire)) hook();
  _exit(2);
}

}  // namespace plimsoll::base
