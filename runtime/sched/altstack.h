// The alternate signal stack of a thread that runs goroutines: handlers run there, not on a
// goroutine's stack, which may have no byte left.
//
//    lo                                                                  hi
//     +---------------+---------------------------------------------------+
//     |  guard, page  |  handlers' frames, downwards; the kernel's first   |
//     +---------------+---------------------------------------------------+
//
// Size:      64 KiB, or four signal frames and 16 KiB where the processor's are so big (AVX-512,
//            AMX): a fault within the preemption handler within a user's handler has room.
// Memory:    own mapping; pages are touched when the first signal comes.
// Colour:    none. A thread is on its altstack for one handler at a time, and two threads' tops
//            share a cache set only where they share a core.
#ifndef PLIMSOLL_RUNTIME_SCHED_ALTSTACK_H_
#define PLIMSOLL_RUNTIME_SCHED_ALTSTACK_H_

#include <cstddef>
#include <cstdint>

namespace plimsoll::sched {

struct AltStack {
  uintptr_t lo = 0;  // of the usable part; 0: there is none
  uintptr_t hi = 0;

  bool Holds(uintptr_t address) const { return address >= lo && address < hi; }
};

// The usable bytes that an altstack has where a signal frame takes at least `min_frame`.
size_t AltStackBytes(size_t min_frame);

// Makes an altstack and gives it to the calling thread in place of the one it has, if any. Empty,
// and told once on stderr, where there is no memory: handlers then run on the goroutine's stack.
AltStack InstallAltStack();

// Gives the calling thread one that another thread had before. False: it is empty.
bool UseAltStack(const AltStack& stack);

// Takes it from the calling thread and unmaps it. Not to be called on it.
void RemoveAltStack(const AltStack& stack);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_ALTSTACK_H_
