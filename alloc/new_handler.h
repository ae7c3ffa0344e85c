// CallNewHandler calls a program's new-handler for an operator new that may not throw.
//
// Result:   false: the handler threw, and operator new gives up.
// Needs:    libstdc++'s part in catching, where the program has it; a program that has not throws
//           nothing, and has no handler to call.
#ifndef PLIMSOLL_ALLOC_NEW_HANDLER_H_
#define PLIMSOLL_ALLOC_NEW_HANDLER_H_

namespace plimsoll::alloc {

bool CallNewHandler(void (*handler)());

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_NEW_HANDLER_H_
