#include "schedule/span.h"

#include <utility>

namespace servoir {

Span part_of(const Span& span, std::uint32_t from, std::uint32_t count) {
  Span part = span;
  part.first += from;
  part.count = count;
  part.turn.order += from;
  part.taken += from;
  return part;
}

std::vector<Span> those_wanted(const std::vector<Span>& spans) {
  std::vector<Span> wanted;
  for (const Span& span : spans) {
    std::uint32_t run = 0;
    for (std::uint32_t k = 0; k <= span.count; ++k) {
      if (k < span.count && wants_to_run(*span.request, span.first + k)) {
        ++run;
      } else if (run > 0) {
        wanted.push_back(part_of(span, k - run, run));
        run = 0;
      }
    }
  }
  return wanted;
}

std::vector<Span> cut_off(std::vector<Span>* spans, std::uint32_t rows) {
  std::vector<Span> taken;
  auto span = spans->begin();
  for (; span != spans->end() && span->count <= rows; ++span) {
    rows -= span->count;
    taken.push_back(std::move(*span));
  }
  if (rows > 0 && span != spans->end()) {
    taken.push_back(part_of(*span, 0, rows));
    *span = part_of(*span, rows, span->count - rows);
  }
  spans->erase(spans->begin(), span);
  return taken;
}

std::uint32_t rows_of(const std::vector<Span>& spans) {
  std::uint32_t rows = 0;
  for (const Span& span : spans) rows += span.count;
  return rows;
}

}  // namespace servoir
