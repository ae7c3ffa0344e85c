// AttachThread makes a goroutine of a thread that the runtime did not make, until DetachThread: a
// thread of a library's pool, of another language, of std::thread.
//
//   void OnEvent(const Event& event) {          // called on some library's thread
//     plimsoll::AttachedThread attached;
//     auto* seen = gc::make<Seen>(event);       // collected values, timers, Go: all as elsewhere
//     results.Send(seen);                       // parks: the thread waits, its P goes on
//   }
//
// Without:   such a thread may use channels and sync all the same: what blocks it blocks the
//            thread. Collected values and the runtime's timers need a goroutine.
// Attached:  it holds a P while it runs, gives it away where it parks, in a BlockingCall and after
//            10 ms (README.md of runtime/, "preempted"), and stops with the world; its stack is
//            scanned. It stays on its thread, as after LockOsThread: thread_locals and errno stay.
// Calls:     within a BlockingCall it has no P, as any goroutine there: no collected value but by
//            gc::Root, no timer, nothing that parks, no detach.
// Nesting:   as many detaches as attaches; on a goroutine of the runtime's own both do nothing.
// Blocking:  AttachThread waits for a P as a goroutine does. Where the process is ending it never
//            returns. DetachThread never waits; what task-local values it destroys may.
// Stack:     the thread's, however large. Call on it, not on a coroutine's, nor in a handler.
// Signals:   while attached the thread has an alternate signal stack of ours, and lets the
//            preemption signal in; both are put back as they were. An altstack that somebody sets
//            meanwhile stays.
// malloc:    an attach binds the thread to one of the runtime's arenas where malloc is jemalloc, as
//            every thread that runs goroutines is; it stays bound. What the collected heap keeps
//            for the thread comes with its first allocation, and goes back when it detaches.
// Cancel:    pthread_cancel waits until the thread's own code is where it may end.
// End:       a thread that ends attached is detached, after its thread_locals are destroyed.
// Locks:     of sync/ belong to nobody, and stay as they are when their holder detaches.
// Cost:      a dozen system calls, and about 12 KiB for each thread attached at the same time.
// Limit:     counts for SetMaxThreads. Fatal before Main runs, in a seeded run, without memory.
// Misuse:    a detach too many, one within a BlockingCall or on an altstack, and Goexit on the
//            thread are fatal.
#ifndef PLIMSOLL_RUNTIME_SCHED_ATTACH_H_
#define PLIMSOLL_RUNTIME_SCHED_ATTACH_H_

#include <source_location>
#include <string_view>

namespace plimsoll {

// `label`: what dumps show it by; up to 31 bytes are kept. Nested calls leave the first one's.
void AttachThread(std::string_view label = {});
void DetachThread(std::source_location where = std::source_location::current());

// Attached from here to the end of the block.
class [[nodiscard]] AttachedThread {
 public:
  explicit AttachedThread(std::string_view label = {},
                          std::source_location where = std::source_location::current())
      : where_(where) {
    AttachThread(label);
  }
  ~AttachedThread() { DetachThread(where_); }
  AttachedThread(const AttachedThread&) = delete;
  AttachedThread& operator=(const AttachedThread&) = delete;

 private:
  std::source_location where_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SCHED_ATTACH_H_
