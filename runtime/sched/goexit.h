// Goexit ends the goroutine that calls it, after its deferred functions and destructors have run.
//
//   Go([] { Defer last([] { ... }); if (done) Goexit(); ... });
//
// No panic:  Recover does not see it. A catch (...) on the way must throw again, as with
//            pthread_exit; one that swallows it is fatal, and so is a noexcept function in its way.
// Main:      may call it; the others go on. When the last of them has ended: "fatal error: no
//            goroutines (main called runtime.Goexit) - deadlock!", exit status 2.
// Threads:   goroutines only; fatal on a thread of your own.
#ifndef PLIMSOLL_RUNTIME_SCHED_GOEXIT_H_
#define PLIMSOLL_RUNTIME_SCHED_GOEXIT_H_

namespace plimsoll {

[[noreturn]] void Goexit();

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SCHED_GOEXIT_H_
