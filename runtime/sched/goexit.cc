#include "plimsoll/runtime/sched/goexit.h"

#include <unwind.h>

#include <cstring>
#include <memory>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"

namespace plimsoll {
namespace {

void Swallowed(_Unwind_Reason_Code, _Unwind_Exception*) {
  base::Fatal("a catch (...) swallowed a Goexit: it must throw again");
}

// Called before each frame: the unwinder runs its destructors, and calls again for the next.
_Unwind_Reason_Code Stop(int, _Unwind_Action actions, _Unwind_Exception_Class,
                         _Unwind_Exception* unwinding, _Unwind_Context*, void*) {
  if ((actions & _UA_END_OF_STACK) == 0) return _URC_NO_REASON;
  delete unwinding;
  sched::ExitGoroutine();
}

}  // namespace

void Goexit() {
  sched::M* m = sched::CurrentM();
  if (m == nullptr && sched::InForkedChild()) sched::FatalForked();
  PLIMSOLL_CHECK(m != nullptr && !m->g->is_system_stack, "Goexit on a thread that is no goroutine");
  if (m->g->is_attached) {
    base::Fatal("runtime: Goexit on an attached thread: it ends where its function returns");
  }
  if (m->g->is_main) sched::sched.main_left.store(true, std::memory_order_relaxed);
  // On the heap: the frames above ours are run over this one.
  auto* unwinding = new _Unwind_Exception{};
  std::memcpy(&unwinding->exception_class, "PLMSEXIT", sizeof(unwinding->exception_class));
  unwinding->exception_cleanup = Swallowed;
  sched::SanitizerBeforeUnwind();
  _Unwind_ForcedUnwind(unwinding, Stop, nullptr);
  base::Fatal("Goexit: the stack cannot be unwound");
}

}  // namespace plimsoll
