// ArenaFigures: what an arena says of itself, which lies below the part that has figures. The arena must outlive it.
#pragma once

#include "memory/arena.h"
#include "metrics/counter.h"

namespace servoir {

class ArenaFigures {
 public:
  ArenaFigures(const metrics::Scope& scope, const Arena* arena)
      : limit_(scope, {"servoir_arena_limit_bytes", "The most that the arena may have.", metrics::Unit::kBytes},
               [arena] { return static_cast<double>(arena->limit()); }),
        used_(scope, {"servoir_arena_used_bytes", "Living blocks of the arena.", metrics::Unit::kBytes},
              [arena] { return static_cast<double>(arena->usage().in_use); }),
        resident_(
            scope,
            {"servoir_arena_resident_bytes", "What the kernel holds of the arena, at most.", metrics::Unit::kBytes},
            [arena] { return static_cast<double>(arena->usage().resident); }),
        peak_(scope,
              {"servoir_arena_peak_bytes", "The most that living blocks have had so far.", metrics::Unit::kBytes},
              [arena] { return static_cast<double>(arena->usage().peak); }),
        blocks_(scope, {"servoir_arena_blocks", "How many blocks of the arena live."},
                [arena] { return static_cast<double>(arena->usage().blocks); }) {}

 private:
  const metrics::GaugeReading limit_;
  const metrics::GaugeReading used_;
  const metrics::GaugeReading resident_;
  const metrics::GaugeReading peak_;
  const metrics::GaugeReading blocks_;
};

}  // namespace servoir
