// Extents: which pages of the arena are taken, which are free, and which of the free ones the kernel holds memory for.
//
// This is bookkeeping: it touches no memory. The Arena calls it under its mutex. Free pages are kept as maximal ranges
// in lists by size, a list for each power of two, and the range that was freed last comes first. Ranges with resident
// pages are taken before ranges without. The space is opened segment by segment, so that taken pages stay close
// together.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace servoir {

struct PageRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool operator==(const PageRange&) const = default;
};

class Extents {
 public:
  Extents(std::uint64_t pages, std::uint64_t segment_pages) : pages_(pages), segment_pages_(segment_pages) {}
  Extents(const Extents&) = delete;
  Extents& operator=(const Extents&) = delete;

  // Takes consecutive free pages and returns the first; they count as resident from now on. Nothing if there is no such
  // range.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t count);
  // Gives taken pages back; they stay resident.
  void give(PageRange range);

  // Takes out a free range of at most `most` pages, at least one of them resident: of the largest ranges the range that
  // was freed longest ago. The caller gives the memory back to the kernel and then calls give_cold(), or give() if that
  // failed.
  [[nodiscard]] std::optional<PageRange> take_for_release(std::uint64_t most);
  void give_cold(PageRange range);

  [[nodiscard]] std::uint64_t resident() const { return resident_; }  // pages
  [[nodiscard]] std::uint64_t free_resident() const { return resident_ - taken_resident_; }
  [[nodiscard]] std::size_t free_ranges() const { return free_.size(); }

 private:
  static constexpr std::uint32_t kBins = 64;
  struct Extent {
    std::uint64_t count = 0;
    bool warm = false;  // has resident pages
    std::uint64_t first = 0;
    Extent* newer = nullptr;
    Extent* older = nullptr;
  };
  struct Bin {
    Extent* newest = nullptr;
    Extent* oldest = nullptr;
  };
  struct Bins {
    std::array<Bin, kBins> bins;
    std::uint64_t filled = 0;  // a bit for each bin that is not empty
  };

  Extent* find(const Bins& bins, std::uint64_t count, std::uint32_t looks) const;
  bool grow(std::uint64_t count);
  void link(Extent* extent);
  void unlink(Extent* extent);
  void insert_free(PageRange range, bool warm);  // warm: has a resident page
  PageRange carve(Extent* extent, std::uint64_t count);
  bool any_resident(PageRange range) const;
  std::uint64_t mark(PageRange range, bool resident);  // returns how many changed

  const std::uint64_t pages_;
  const std::uint64_t segment_pages_;
  std::uint64_t opened_ = 0;              // pages of the segments opened so far
  std::map<std::uint64_t, Extent> free_;  // by the first page; no two are adjacent
  Bins warm_;
  Bins cold_;
  std::vector<std::uint64_t> resident_bits_;  // a bit for each page
  std::uint64_t resident_ = 0;
  std::uint64_t taken_resident_ = 0;
};

}  // namespace servoir
