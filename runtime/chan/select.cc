#include "plimsoll/runtime/chan/select.h"

#include "absl/container/inlined_vector.h"

namespace plimsoll {

int Select(std::span<Case> cases) {
  constexpr size_t kWithoutAllocation = 8;
  absl::InlinedVector<internal::SelectOp, kWithoutAllocation> ops;
  absl::InlinedVector<int, kWithoutAllocation> case_of_op;
  internal::SelectClock clock;
  ops.reserve(cases.size());
  case_of_op.reserve(cases.size());
  try {
    for (size_t i = 0; i < cases.size(); ++i) {
      Case::Any& any = *cases[i].impl_;
      if (any.is_channel_op()) {
        any.Bind(ops.emplace_back());
        case_of_op.push_back(static_cast<int>(i));
      } else {
        any.SetClock(clock, static_cast<int>(i));
      }
    }
  } catch (...) {  // a move of a value's: those before it are given back
    for (Case& c : cases) c.impl_->NotTaken();
    throw;
  }
  const internal::Selected selected =
      internal::SelectRun::Run({ops.data(), ops.size()}, clock.deadline_ns);
  const int taken = internal::IndexOf(selected, clock, case_of_op.data());
  for (size_t i = 0; i < cases.size(); ++i) {
    if (static_cast<int>(i) != taken) cases[i].impl_->NotTaken();
  }
  cases[static_cast<size_t>(taken)].impl_->Taken(selected.outcome);
  return taken;
}

}  // namespace plimsoll
