// LockOsThread wires the calling goroutine to its thread: until UnlockOsThread it runs on that one,
// and nothing else does. For libraries that keep state by thread.
//
//   LockOsThread();
//   SetUpThreadLocalState();
//   ...
//   UnlockOsThread();
//
// Nesting:   as many unlocks as locks. An unlock too many does nothing.
// Exit:      a goroutine that ends locked ends its thread (the process's first thread stays,
// unused). Cost:      the thread waits while its goroutine does, and each park hands its P to
// another thread. Threads:   new threads are made by one of the runtime's own, never by a locked
// one. On a thread
//            that is not the runtime's both do nothing.
#ifndef PLIMSOLL_RUNTIME_SCHED_LOCK_OS_THREAD_H_
#define PLIMSOLL_RUNTIME_SCHED_LOCK_OS_THREAD_H_

namespace plimsoll {

void LockOsThread();
void UnlockOsThread();

// Sets how many threads may run goroutines, blocked ones included, and returns what it was: 10,000
// at first. When one more is wanted: "runtime: program exceeds N-thread limit", "fatal error:
// thread exhaustion", exit status 2. (Where the system gives no more, work waits instead.)
int SetMaxThreads(int n);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SCHED_LOCK_OS_THREAD_H_
