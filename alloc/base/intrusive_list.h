// An IntrusiveList links objects through a field of their own: no memory, and removal from the
// middle in constant time.
//
//   struct Waiter { ListLink link; ... };
//   IntrusiveList<Waiter, &Waiter::link> queue;
//   queue.PushBack(w);  queue.Remove(w);  Waiter* first = queue.PopFront();
//
// Ownership: none; an object must leave its list before it dies.
// Threads:   as a plain struct: one at a time, under its owner's lock.
#ifndef PLIMSOLL_ALLOC_BASE_INTRUSIVE_LIST_H_
#define PLIMSOLL_ALLOC_BASE_INTRUSIVE_LIST_H_

#include <cstddef>

namespace plimsoll::base {

struct ListLink {
  ListLink* prev = nullptr;
  ListLink* next = nullptr;
  bool linked() const { return next != nullptr; }
};

template <typename T, ListLink T::* kLink>
class IntrusiveList {
 public:
  IntrusiveList() { head_.prev = head_.next = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  T* front() const { return empty() ? nullptr : Owner(head_.next); }

  // Requires: `item` is in no list.
  void PushBack(T* item) { InsertBefore(&head_, &(item->*kLink)); }

  // Requires: `item` is in no list.
  void PushFront(T* item) { InsertBefore(head_.next, &(item->*kLink)); }

  T* PopFront() {
    T* item = front();
    if (item != nullptr) Remove(item);
    return item;
  }

  // Requires: `item` is in this list.
  void Remove(T* item) {
    ListLink* link = &(item->*kLink);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = nullptr;
  }

 private:
  static T* Owner(ListLink* link) {
    alignas(T) static constexpr char kNowhere[sizeof(T)] = {};
    const auto* base = reinterpret_cast<const T*>(kNowhere);
    const ptrdiff_t offset =
        reinterpret_cast<const char*>(&(base->*kLink)) - reinterpret_cast<const char*>(base);
    return reinterpret_cast<T*>(reinterpret_cast<char*>(link) - offset);
  }

  static void InsertBefore(ListLink* next, ListLink* link) {
    link->prev = next->prev;
    link->next = next;
    next->prev->next = link;
    next->prev = link;
  }

  ListLink head_;
};

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_INTRUSIVE_LIST_H_
