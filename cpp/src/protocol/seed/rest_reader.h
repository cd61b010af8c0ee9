// The body of a REST request. Belongs to one I/O thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "memory/slab.h"
#include "protocol/json_document.h"
#include "protocol/seed/rest_target.h"
#include "request/request.h"
#include "schedule/scheduler.h"

namespace servoir::seed {

// `body` has `kJsonPadding` readable bytes after its end. `take_nonfinite`: see JsonDocument::parse(). `connection`:
// see RequestBuilder.
[[nodiscard]] Result<std::shared_ptr<Request>> read_rest_request(const RestTarget& target, std::string_view body,
                                                                 Scheduler* scheduler, SlabPool* slabs,
                                                                 MemoryBudget* connection = nullptr,
                                                                 bool take_nonfinite = false);
// The same for a path that is not parsed yet. The body is checked to be JSON before the path is looked at, as the
// predecessor did.
[[nodiscard]] Result<std::shared_ptr<Request>> read_rest_request(std::string_view path, std::string_view body,
                                                                 Scheduler* scheduler, SlabPool* slabs,
                                                                 MemoryBudget* connection = nullptr,
                                                                 bool take_nonfinite = false);

}  // namespace servoir::seed
