// runtime/go.h under exploration: a model's programs start their goroutines themselves.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_GO_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_GO_H_

namespace plimsoll {

template <typename F>
void Go(F f);

}  // namespace plimsoll

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_GO_H_
