// gc::hash_map maps keys to values in collected memory: for members of collected types.
//
//   struct Cache { gc::hash_map<gc::string, gc::Ptr<Page>> pages; GC_FIELDS(Cache, pages); };
//   cache->pages["index"] = page;
//   if (gc::Ptr<Page>* found = cache->pages.find("index")) Use(*found);
//   cache->pages.erase("index");
//   for (auto& entry : cache->pages) Print(entry.key, entry.value);
//
//    index   table of 2^n: number of an entry + 1, or 0; linear probing
//    entries in order of coming: hash, key, value; erased ones are cleared until the next growth
//
// Contents:  keys and values of described types; std::hash and == of the key. gc::Ptr keys are by
//            address: nothing moves.
// Order:     iteration is in order of insertion; adding while iterating may end the iteration
//            early, never badly.
// References: to values are valid until the next insertion that grows the map; a stale one reads
//            old values, never freed memory.
// Copies:    a hash_map is a value; copying copies the entries.
// Threads:   as a std::unordered_map.
#ifndef PLIMSOLL_RUNTIME_GC_HASH_MAP_H_
#define PLIMSOLL_RUNTIME_GC_HASH_MAP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/vector.h"

namespace plimsoll::gc {

template <typename K, typename V>
class hash_map {
 public:
  struct entry {
    K key{};
    V value{};

   private:
    friend class hash_map;
    uint64_t hash = 0;
    bool live = false;
    GC_FIELDS(entry, key, value);
  };

  // Passes over what was erased.
  template <typename E>
  class iterator_of {
   public:
    iterator_of(E* at, E* end) : at_(at), end_(end) { Skip(); }
    E& operator*() const { return *at_; }
    E* operator->() const { return at_; }
    iterator_of& operator++() {
      ++at_;
      Skip();
      return *this;
    }
    friend bool operator==(const iterator_of& a, const iterator_of& b) { return a.at_ == b.at_; }

   private:
    void Skip() {
      while (at_ != end_ && !at_->live) ++at_;
    }
    E* at_;
    E* end_;
  };
  using iterator = iterator_of<entry>;
  using const_iterator = iterator_of<const entry>;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  iterator begin() { return {entries_.begin(), entries_.end()}; }
  iterator end() { return {entries_.end(), entries_.end()}; }
  const_iterator begin() const { return {entries_.begin(), entries_.end()}; }
  const_iterator end() const { return {entries_.end(), entries_.end()}; }

  // The value at `key`; null: there is none.
  V* find(const K& key) {
    const size_t slot = SlotOf(key, Hash(key));
    return slot == kNone ? nullptr : &entries_[index_[slot] - 1].value;
  }
  const V* find(const K& key) const { return const_cast<hash_map*>(this)->find(key); }
  bool contains(const K& key) const { return find(key) != nullptr; }

  // The value at `key`, made if there is none.
  V& operator[](const K& key) {
    const uint64_t hash = Hash(key);
    if (const size_t slot = SlotOf(key, hash); slot != kNone) {
      return entries_[index_[slot] - 1].value;
    }
    // A quarter of the table stays free: probes are short, and end.
    if ((entries_.size() + 1) * 4 > index_.size() * 3) Rebuild();
    entry& e = entries_.emplace_back();
    e.key = key;
    e.hash = hash;
    e.live = true;
    Link(hash, static_cast<uint32_t>(entries_.size()));
    ++size_;
    return e.value;
  }

  // True: it was there.
  bool erase(const K& key) {
    const size_t slot = SlotOf(key, Hash(key));
    if (slot == kNone) return false;
    // Its slot stays taken, so that probes pass over it, until the next Rebuild.
    entries_[index_[slot] - 1] = entry();
    --size_;
    return true;
  }

  void clear() {
    entries_ = {};
    index_ = {};
    size_ = 0;
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;

  static uint64_t Hash(const K& key) {
    // std::hash of numbers is the number: the low bits must depend on all.
    const uint64_t h = std::hash<K>()(key) * uint64_t{0x9E3779B97F4A7C15};
    return h ^ (h >> 32);
  }

  size_t SlotOf(const K& key, uint64_t hash) const {
    if (index_.empty()) return kNone;
    const size_t mask = index_.size() - 1;
    for (size_t slot = hash & mask; index_[slot] != 0; slot = (slot + 1) & mask) {
      const entry& e = entries_[index_[slot] - 1];
      if (e.live && e.hash == hash && e.key == key) return slot;
    }
    return kNone;
  }

  void Link(uint64_t hash, uint32_t number) {
    const size_t mask = index_.size() - 1;
    size_t slot = hash & mask;
    while (index_[slot] != 0) slot = (slot + 1) & mask;
    index_[slot] = number;
  }

  // A table for twice what lives, without what was erased.
  void Rebuild() {
    size_t slots = 8;
    while (slots < (size_ + 1) * 2) slots *= 2;
    vector<entry> old = std::move(entries_);
    index_ = {};
    index_.resize(slots);
    entries_.reserve(slots / 4 * 3);
    for (entry& e : old) {
      if (!e.live) continue;
      entries_.push_back(e);
      Link(e.hash, static_cast<uint32_t>(entries_.size()));
    }
  }

  static constexpr void GcCounts(internal::MaskSink& sink) {
    sink.Count(offsetof(hash_map, size_));
  }
  GC_FIELDS(hash_map, entries_, index_);

  vector<entry> entries_;
  vector<uint32_t> index_;
  size_t size_ = 0;
};

}  // namespace plimsoll::gc

template <typename T>
struct std::hash<plimsoll::gc::Ptr<T>> {
  size_t operator()(const plimsoll::gc::Ptr<T>& p) const { return std::hash<T*>()(p.get()); }
};

#endif  // PLIMSOLL_RUNTIME_GC_HASH_MAP_H_
