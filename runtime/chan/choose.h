// ChooseBelow draws which of several ready cases a Select takes.
#ifndef PLIMSOLL_RUNTIME_CHAN_CHOOSE_H_
#define PLIMSOLL_RUNTIME_CHAN_CHOOSE_H_

#include <cstdint>

namespace plimsoll::internal {

// A number below `n`, each as likely as another. Requires: n > 0. Fast, and no secret.
uint32_t ChooseBelow(uint32_t n);

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_CHOOSE_H_
