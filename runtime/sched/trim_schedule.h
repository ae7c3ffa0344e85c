// A TrimSchedule says when sysmon looks for stacks to trim. It goes round all stacks in looks of
// bounded size, and comes to rest: where nothing has run since a round began there is nothing that
// the next could find.
//
//   ran             ran, again and again             nothing runs any more
//   |<-- period -->|.look.look.look.|<-- period -->|.look.look.|  for ever
//                  a round of looks                  its last
//
// Threads: sysmon alone.
#ifndef PLIMSOLL_RUNTIME_SCHED_TRIM_SCHEDULE_H_
#define PLIMSOLL_RUNTIME_SCHED_TRIM_SCHEDULE_H_

#include <cstdint>

namespace plimsoll::sched {

class TrimSchedule {
 public:
  // `period_ns` from one round's end to the next one's begin, `pause_ns` between two looks.
  constexpr TrimSchedule(int64_t period_ns, int64_t pause_ns)
      : period_ns_(period_ns), pause_ns_(pause_ns) {}

  // A goroutine has run, or runs, since this was called last.
  void Ran(int64_t now) {
    if (!settled_) return;
    settled_ = false;
    if (!in_round_) next_ns_ = now + period_ns_;
  }

  // Whether to look now. True begins a round if there is none: *begins then.
  bool Look(int64_t now, bool* begins) {
    if ((settled_ && !in_round_) || now < next_ns_) return false;
    *begins = !in_round_;
    // What runs from now on may be missed by this round.
    if (*begins) settled_ = true;
    in_round_ = true;
    return true;
  }

  // What a look found. `over`: it was the round's last. `again`: there are stacks that were too
  // young for it, or that nobody had the time to trim.
  void Looked(int64_t now, bool over, bool again) {
    if (again) settled_ = false;
    in_round_ = !over;
    next_ns_ = now + (over ? period_ns_ : pause_ns_);
  }

  // How long until it wants to look again; -1: not before something has run.
  int64_t Wait(int64_t now) const {
    if (settled_ && !in_round_) return -1;
    return now < next_ns_ ? next_ns_ - now : 0;
  }

 private:
  const int64_t period_ns_, pause_ns_;
  bool in_round_ = false;
  bool settled_ = true;  // nothing has run since the round began, and it left nothing behind
  int64_t next_ns_ = 0;
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRIM_SCHEDULE_H_
