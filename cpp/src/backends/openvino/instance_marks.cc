// Instance: the marks that show which outputs OpenVINO has not written.

#include <cstddef>

#include "instance.h"
#include "mark.h"

namespace servoir::openvino {
void Instance::mark_outputs(Mark mark) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    Marked& marked = marked_[i];
    marked = {outputs_[i].data, outputs_[i].bytes};
    if (marked.data == nullptr && may_bind(i)) {
      // OpenVINO's own memory has the results of the last batch, if there is any yet.
      ov_tensor_t* raw = nullptr;
      if (api_.ov_infer_request_get_output_tensor_by_index(request_.get(), i, &raw) != ov_status_e::OK) continue;
      const Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
      std::size_t bytes = 0;
      if (api_.ov_tensor_get_byte_size(raw, &bytes) != ov_status_e::OK || bytes == 0) continue;
      if (api_.ov_tensor_data(raw, &marked.data) != ov_status_e::OK) marked.data = nullptr;
      marked.bytes = bytes;
    }
    if (marked.data != nullptr) put_mark(marked.data, marked.bytes, mark);
  }
}

const Port* Instance::unwritten(const servoir_buffer* outputs, Mark mark) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Marked& marked = marked_[i];
    if (marked.data == nullptr) continue;
    if (outputs[i].data != marked.data || outputs[i].bytes != marked.bytes) continue;  // smaller, and told so
    if (has_mark(marked.data, marked.bytes, mark)) return &model_.outputs_[i];
  }
  return nullptr;
}

}  // namespace servoir::openvino
