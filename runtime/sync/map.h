// A Map is a hash map that many goroutines may use at once.
//
//   Map<std::string, int> hits;
//   hits.Store("/", 1);
//   std::optional<int> n = hits.Load("/");
//   auto [value, loaded] = hits.LoadOrStore("/new", 0);
//
// Values:    copied out. K needs a hash and ==; CompareAnd… need V's ==.
// Range:     each key at most once. Stores and deletions meanwhile may be seen or not. The function
//            runs with nothing locked, so it may use the map; false ends the walk.
// Ends:      keys and values that go are destroyed with nothing locked, so their destructors may
// use
//            the map. (Not so a V that copies and does not move.)
// Blocking:  operations park for each other, never for long: a part of the map has its own lock;
//            Range and Clear take one part at a time.
// Ordering:  what precedes a Store is visible after the Load that returns its value.
#ifndef PLIMSOLL_RUNTIME_SYNC_MAP_H_
#define PLIMSOLL_RUNTIME_SYNC_MAP_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "plimsoll/runtime/sync/rw_mutex.h"

namespace plimsoll {

template <typename K, std::copyable V, typename Hash = std::hash<K>>
class Map {
 public:
  Map() = default;
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  std::optional<V> Load(const K& key) const {
    const Part& part = PartOf(key);
    std::shared_lock hold(part.mu);
    const auto it = part.values.find(key);
    if (it == part.values.end()) return std::nullopt;
    return it->second;
  }

  void Store(const K& key, V value) { (void)Swap(key, std::move(value)); }

  struct Loaded {
    V value;      // what is in the map now
    bool loaded;  // whether it was there before
  };
  Loaded LoadOrStore(const K& key, V value) {
    Part& part = PartOf(key);
    std::lock_guard hold(part.mu);
    const auto [it, stored] = part.values.try_emplace(key, std::move(value));
    return {it->second, !stored};
  }

  // Removes the key; its value if it was there.
  std::optional<V> LoadAndDelete(const K& key) {
    Part& part = PartOf(key);
    typename std::unordered_map<K, V, Hash>::node_type old;  // its key is destroyed after the lock
    std::lock_guard hold(part.mu);
    const auto it = part.values.find(key);
    if (it == part.values.end()) return std::nullopt;
    old = part.values.extract(it);
    return std::optional<V>(std::move(old.mapped()));
  }
  void Delete(const K& key) { (void)LoadAndDelete(key); }

  // Stores; the value that was there before.
  std::optional<V> Swap(const K& key, V value) {
    Part& part = PartOf(key);
    std::lock_guard hold(part.mu);
    const auto [it, stored] = part.values.try_emplace(key, value);
    if (stored) return std::nullopt;
    return std::exchange(it->second, std::move(value));
  }

  // True: the value was `expected`, and is `desired` now.
  bool CompareAndSwap(const K& key, const V& expected, V desired)
    requires std::equality_comparable<V>
  {
    Part& part = PartOf(key);
    std::lock_guard hold(part.mu);
    const auto it = part.values.find(key);
    if (it == part.values.end() || !(it->second == expected)) return false;
    // The old value ends with `desired`, which the caller destroys: not under the lock.
    std::swap(it->second, desired);
    return true;
  }

  // True: the value was `expected`, and is gone now.
  bool CompareAndDelete(const K& key, const V& expected)
    requires std::equality_comparable<V>
  {
    Part& part = PartOf(key);
    typename std::unordered_map<K, V, Hash>::node_type old;  // destroyed after the lock
    std::lock_guard hold(part.mu);
    const auto it = part.values.find(key);
    if (it == part.values.end() || !(it->second == expected)) return false;
    old = part.values.extract(it);
    return true;
  }

  template <std::predicate<const K&, const V&> F>
  void Range(F f) const {
    for (const Part& part : parts_) {
      // A copy: a key stays in its part, so no other part shows it again.
      std::vector<std::pair<K, V>> seen;
      {
        std::shared_lock hold(part.mu);
        seen.assign(part.values.begin(), part.values.end());
      }
      for (const auto& [key, value] : seen) {
        if (!f(key, value)) return;
      }
    }
  }

  void Clear() {
    for (Part& part : parts_) {
      std::unordered_map<K, V, Hash> old;  // destroyed after the lock
      std::lock_guard hold(part.mu);
      old.swap(part.values);
    }
  }

 private:
  static constexpr size_t kParts = 32;

  struct alignas(64) Part {
    mutable RWMutex mu;
    std::unordered_map<K, V, Hash> values;  // guarded by mu
  };

  // Fibonacci hashing: std::hash of an integer is the integer, and its low bits choose the bucket.
  static size_t IndexOf(const K& key) {
    return static_cast<size_t>((uint64_t{Hash{}(key)} * 0x9e3779b97f4a7c15u) >> 59);
  }
  static_assert(kParts == size_t{1} << (64 - 59));
  Part& PartOf(const K& key) { return parts_[IndexOf(key)]; }
  const Part& PartOf(const K& key) const { return parts_[IndexOf(key)]; }

  std::array<Part, kParts> parts_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_MAP_H_
