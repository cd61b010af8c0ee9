#include "memory/extents.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <utility>

namespace servoir {
namespace {

// How many ranges of the list for the wanted size are looked at before a larger range is cut. All of them are looked at
// only when everything else has failed.
constexpr std::uint32_t kLooks = 16;
constexpr std::uint32_t kAll = std::numeric_limits<std::uint32_t>::max();

std::uint32_t bin_of(std::uint64_t count) { return static_cast<std::uint32_t>(std::bit_width(count)) - 1; }

// Calls fn(word, mask) for each word of the bitmap that the range touches, until it returns false.
template <typename Fn>
void for_each_word(PageRange range, Fn fn) {
  std::uint64_t page = range.first;
  const std::uint64_t end = range.first + range.count;
  while (page < end) {
    const std::uint64_t bit = page % 64;
    const std::uint64_t bits = std::min<std::uint64_t>(64 - bit, end - page);
    const std::uint64_t mask = (bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1) << bit;
    if (!fn(page / 64, mask)) return;
    page += bits;
  }
}

}  // namespace

bool Extents::any_resident(PageRange range) const {
  bool any = false;
  for_each_word(range, [&](std::uint64_t word, std::uint64_t mask) {
    any = (resident_bits_[word] & mask) != 0;
    return !any;
  });
  return any;
}

std::uint64_t Extents::mark(PageRange range, bool resident) {
  std::uint64_t changed = 0;
  for_each_word(range, [&](std::uint64_t word, std::uint64_t mask) {
    std::uint64_t& bits = resident_bits_[word];
    changed += static_cast<std::uint64_t>(std::popcount((resident ? ~bits : bits) & mask));
    bits = resident ? bits | mask : bits & ~mask;
    return true;
  });
  return changed;
}

void Extents::link(Extent* extent) {
  Bins& bins = extent->warm ? warm_ : cold_;
  const std::uint32_t index = bin_of(extent->count);
  Bin& bin = bins.bins[index];
  extent->newer = nullptr;
  extent->older = bin.newest;
  (bin.newest != nullptr ? bin.newest->newer : bin.oldest) = extent;
  bin.newest = extent;
  bins.filled |= std::uint64_t{1} << index;
}

void Extents::unlink(Extent* extent) {
  Bins& bins = extent->warm ? warm_ : cold_;
  const std::uint32_t index = bin_of(extent->count);
  Bin& bin = bins.bins[index];
  (extent->newer != nullptr ? extent->newer->older : bin.newest) = extent->older;
  (extent->older != nullptr ? extent->older->newer : bin.oldest) = extent->newer;
  if (bin.newest == nullptr) bins.filled &= ~(std::uint64_t{1} << index);
}

// Joins the range with the free ranges next to it.
void Extents::insert_free(PageRange range, bool warm) {
  auto next = free_.lower_bound(range.first);
  if (next != free_.end() && next->first == range.first + range.count) {
    range.count += next->second.count;
    warm |= next->second.warm;
    unlink(&next->second);
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    Extent& before = std::prev(next)->second;
    if (before.first + before.count == range.first) {
      unlink(&before);
      before.count += range.count;
      before.warm |= warm;
      link(&before);
      return;
    }
  }
  Extent& extent = free_.emplace_hint(next, range.first, Extent{})->second;
  extent.first = range.first;
  extent.count = range.count;
  extent.warm = warm;
  link(&extent);
}

// Takes the first `count` pages of a free range; the rest stays free.
PageRange Extents::carve(Extent* extent, std::uint64_t count) {
  const PageRange range{extent->first, count};
  unlink(extent);
  auto node = free_.extract(range.first);
  if (extent->count > count) {
    extent->first += count;
    extent->count -= count;
    extent->warm = extent->warm && any_resident({extent->first, extent->count});
    node.key() = extent->first;
    link(&free_.insert(std::move(node)).position->second);
  }
  return range;
}

Extents::Extent* Extents::find(const Bins& bins, std::uint64_t count, std::uint32_t looks) const {
  const std::uint32_t own = bin_of(count);
  for (Extent* extent = bins.bins[own].newest; extent != nullptr && looks > 0; extent = extent->older, --looks) {
    if (extent->count >= count) return extent;
  }
  const std::uint64_t larger = own + 1 < kBins ? bins.filled >> (own + 1) << (own + 1) : 0;
  return larger == 0 ? nullptr : bins.bins[static_cast<std::uint32_t>(std::countr_zero(larger))].newest;
}

// Opens as many segments as a range of `count` pages at the end of the opened space needs.
bool Extents::grow(std::uint64_t count) {
  std::uint64_t at_end = 0;
  if (!free_.empty()) {
    const Extent& last = free_.rbegin()->second;
    if (last.first + last.count == opened_) at_end = last.count;
  }
  const std::uint64_t missing = count - std::min(count, at_end);
  if (missing > pages_ - opened_) return false;
  const std::uint64_t segments = (missing + segment_pages_ - 1) / segment_pages_;
  const std::uint64_t added = std::min(segments * segment_pages_, pages_ - opened_);
  if (added == 0) return false;
  const std::uint64_t first = opened_;
  opened_ += added;
  resident_bits_.resize((opened_ + 63) / 64);
  insert_free({first, added}, false);
  return true;
}

std::optional<std::uint64_t> Extents::take(std::uint64_t count) {
  if (count == 0 || count > pages_) return std::nullopt;
  Extent* extent = find(warm_, count, kLooks);
  if (extent == nullptr) extent = find(cold_, count, kLooks);
  if (extent == nullptr && grow(count)) {
    // The new pages may have joined a range with resident pages.
    extent = find(cold_, count, kAll);
  }
  if (extent == nullptr) extent = find(warm_, count, kAll);
  if (extent == nullptr) extent = find(cold_, count, kAll);
  if (extent == nullptr) return std::nullopt;
  const PageRange range = carve(extent, count);
  resident_ += mark(range, true);
  taken_resident_ += count;
  return range.first;
}

void Extents::give(PageRange range) {
  taken_resident_ -= range.count;
  insert_free(range, true);
}

std::optional<PageRange> Extents::take_for_release(std::uint64_t most) {
  if (warm_.filled == 0 || most == 0) return std::nullopt;
  Extent* extent = warm_.bins[bin_of(warm_.filled)].oldest;
  // The range starts at the first resident page: a release of pages before it would do nothing.
  PageRange range{extent->first, extent->count};
  std::uint64_t word = range.first / 64;
  std::uint64_t bits = resident_bits_[word] & (~std::uint64_t{0} << (range.first % 64));
  while (bits == 0) bits = resident_bits_[++word];
  const std::uint64_t skip = word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits)) - range.first;
  range.first += skip;
  range.count -= skip;
  range.count = std::min(range.count, most);
  const PageRange whole{extent->first, extent->count};
  unlink(extent);
  free_.erase(whole.first);
  if (range.first > whole.first) insert_free({whole.first, range.first - whole.first}, false);
  const std::uint64_t end = range.first + range.count;
  if (const PageRange rest{end, whole.first + whole.count - end}; rest.count > 0) {
    insert_free(rest, any_resident(rest));
  }
  // While the range is out, all of its pages count as taken and resident.
  resident_ += mark(range, true);
  taken_resident_ += range.count;
  return range;
}

void Extents::give_cold(PageRange range) {
  taken_resident_ -= range.count;
  resident_ -= mark(range, false);
  insert_free(range, false);
}

}  // namespace servoir
