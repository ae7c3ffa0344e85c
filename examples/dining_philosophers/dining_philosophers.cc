// Dining philosophers: five forks between five philosophers, two to eat with. Each takes the fork
// with the lower number first; so there is no circle of those who hold one and wait for the next.
#include <array>
#include <cstdio>
#include <mutex>
#include <utility>

#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    constexpr size_t kSeats = 5;
    constexpr int kMeals = 100;
    std::array<plimsoll::Mutex, kSeats> forks;
    std::array<int, kSeats> meals{};
    plimsoll::WaitGroup table;
    for (size_t seat = 0; seat < kSeats; ++seat) {
      table.Go([&, seat] {
        size_t first = seat;
        size_t second = (seat + 1) % kSeats;
        if (second < first) std::swap(first, second);
        for (int meal = 0; meal < kMeals; ++meal) {
          std::lock_guard one(forks[first]);
          std::lock_guard two(forks[second]);
          ++meals[seat];
        }
      });
    }
    table.Wait();
    for (size_t seat = 0; seat < kSeats; ++seat) {
      std::printf("philosopher %zu ate %d times\n", seat + 1, meals[seat]);
    }
    return 0;
  });
}
