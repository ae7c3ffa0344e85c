// How a model's tests are written: the search of the right program, and one test for each fault.
#ifndef PLIMSOLL_TESTS_MODEL_FAULTS_H_
#define PLIMSOLL_TESTS_MODEL_FAULTS_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/explore.h"

namespace plimsoll::model {

// True in the manual runs that search further than the tests of every day (README.md).
inline bool SearchFar() { return getenv("MODEL_FAR") != nullptr; }

inline void PrintRow(const char* what, const char* fault, const Result& r) {
  printf("| %s | %s | %s%llu (+ %llu) | %llu | %d | %.2f |\n", what, fault,
         r.failed ? "found at " : "", static_cast<unsigned long long>(r.executions),
         static_cast<unsigned long long>(r.redundant), static_cast<unsigned long long>(r.steps),
         r.longest, r.seconds);
  fflush(stdout);
}

// The program holds in every execution that the search goes through, to its end.
inline void ExpectHolds(const char* what, const Options& options, const Program& program) {
  PlantFault("");
  const Result r = Explore(options, program);
  PrintRow(what, "", r);
  EXPECT_FALSE(r.failed) << what << ": " << r.failure << "\n" << r.trace;
  EXPECT_TRUE(r.complete) << what << ": given up after " << r.executions;
  EXPECT_EQ(r.cut, 0u) << what << ": executions without an end";
  EXPECT_GT(r.executions, 0u);
}

// With the fault planted, the search finds an execution that fails, and its schedule replays.
inline void ExpectFinds(const char* what, const char* fault, const Options& options,
                        const Program& program) {
  PlantFault(fault);
  const Result r = Explore(options, program);
  PrintRow(what, fault, r);
  EXPECT_TRUE(r.failed) << what << ": \"" << fault << "\" was not found in " << r.executions
                        << " executions";
  if (r.failed) {
    EXPECT_EQ(Replay(options, r.schedule, program).failure, r.failure) << r.trace;
    if (getenv("MODEL_TRACES") != nullptr) printf("%s\n", r.trace.c_str());
  }
  PlantFault("");
}

}  // namespace plimsoll::model

#endif  // PLIMSOLL_TESTS_MODEL_FAULTS_H_
