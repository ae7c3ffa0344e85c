// SwitchTo leaves one goroutine for another; FinishSwitch does, on the other side, what the one
// left asked for. Inline: between them lies every park.
#ifndef PLIMSOLL_RUNTIME_SCHED_SWITCH_TO_H_
#define PLIMSOLL_RUNTIME_SCHED_SWITCH_TO_H_

#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/stack/switch.h"

namespace plimsoll::sched {

// Runs on whichever goroutine was switched to: does what the one before asked for.
inline void FinishSwitch(M* m) {
  const Commit commit = m->commit;
  if (commit.fn == nullptr) return;
  m->commit.fn = nullptr;
  if (!commit.fn(commit.g, commit.arg)) Ready(commit.g);
}

// Leaves `from` for `to` on this M; returns when `from` is switched to again, maybe on another M.
inline void SwitchTo(M* m, G* from, G* to, bool last = false) {
  // by g.h (3). The addresses are the thread's own, read once when the M began: a compiler's copy
  // of &errno or of __cxa_get_globals()'s result would be the old thread's after the switch.
  from->eh = *m->eh;
  from->saved_errno = *m->errno_address;
  *m->eh = to->eh;
  *m->errno_address = to->saved_errno;
  m->g = to;
  to->status.store(GStatus::kRunning, std::memory_order_relaxed);
  SanitizerBeforeSwitch(from, to, last);
  plimsoll_switch(&from->sp, to->sp);
  SanitizerAfterSwitch(from);
}

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SWITCH_TO_H_
