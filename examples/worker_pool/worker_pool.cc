// A worker pool with back-pressure: three workers share a channel of two places. Who brings jobs
// faster than they are done waits at Send, and no queue grows.
#include <atomic>
#include <cstdio>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    constexpr int kJobs = 100;
    constexpr int kWorkers = 3;
    plimsoll::Channel<int> jobs(2);
    plimsoll::Channel<int> results(kJobs);
    plimsoll::WaitGroup workers;
    std::atomic<int> unfinished{0};
    int most_unfinished = 0;

    for (int w = 0; w < kWorkers; ++w) {
      workers.Go([&, jobs, results] {
        for (int job : jobs) {
          results.Send(job * job);
          unfinished.fetch_sub(1);
        }
      });
    }
    for (int job = 1; job <= kJobs; ++job) {
      jobs.Send(job);
      // Two wait in the channel, each worker has one, and one may be done but not yet counted.
      const int now = unfinished.fetch_add(1) + 1;
      if (now > most_unfinished) most_unfinished = now;
    }
    jobs.Close();
    workers.Wait();
    results.Close();

    long sum = 0;
    for (int result : results) sum += result;
    std::printf("sum of the squares of 1 to %d: %ld\n", kJobs, sum);
    std::printf("never more than the channel and the workers hold: %s\n",
                most_unfinished <= 2 + kWorkers ? "yes" : "no");
    return 0;
  });
}
