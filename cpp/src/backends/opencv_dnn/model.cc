#include "model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <opencv2/core/utils/logger.hpp>
#include <optional>
#include <string_view>
#include <system_error>

namespace servoir::opencv_dnn {
namespace {

struct Element {
  std::uint32_t dtype;
  int opencv;
};
constexpr std::array<Element, 12> kElements = {{{SERVOIR_BOOL, CV_Bool},
                                                {SERVOIR_INT8, CV_8S},
                                                {SERVOIR_UINT8, CV_8U},
                                                {SERVOIR_INT16, CV_16S},
                                                {SERVOIR_UINT16, CV_16U},
                                                {SERVOIR_INT32, CV_32S},
                                                {SERVOIR_UINT32, CV_32U},
                                                {SERVOIR_INT64, CV_64S},
                                                {SERVOIR_UINT64, CV_64U},
                                                {SERVOIR_FLOAT16, CV_16F},
                                                {SERVOIR_FLOAT32, CV_32F},
                                                {SERVOIR_FLOAT64, CV_64F}}};

std::uint32_t dtype_of(int opencv) {
  const auto* found =
      std::find_if(kElements.begin(), kElements.end(), [&](const Element& e) { return e.opencv == opencv; });
  return found == kElements.end() ? SERVOIR_UNKNOWN_TYPE : found->dtype;
}

// What OpenCV logs while this thread reads a model; null: it is dropped.
thread_local std::string* t_messages = nullptr;

void keep_message(cv::utils::logging::LogLevel /*level*/, const char* /*tag*/, const char* /*file*/, int /*line*/,
                  const char* /*function*/, const char* message) {
  if (t_messages == nullptr || message == nullptr) return;
  if (!t_messages->empty()) *t_messages += "; ";
  *t_messages += message;
}

// Collects what OpenCV logs, in which alone it says why it could not read a model.
class Messages {
 public:
  Messages() {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_WARNING);
    cv::utils::logging::internal::replaceWriteLogMessageEx(keep_message);
    t_messages = &text_;
  }
  ~Messages() { t_messages = nullptr; }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  // The text is cut to one line. For operators that it does not have OpenCV gives a list, after advice that does not
  // fit here.
  [[nodiscard]] std::string reason() const {
    static constexpr std::string_view kMissing = "Unsupported operations:";
    std::string line;
    const std::size_t missing = text_.find(kMissing);
    const std::size_t from = missing == std::string::npos ? 0 : missing + kMissing.size();
    for (const char c : text_.substr(from)) {
      const bool blank = c == '\n' || c == '\t' || c == ' ';
      if (!blank || (!line.empty() && line.back() != ' ')) line += blank ? ' ' : c;
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (line.empty()) line = "OpenCV does not say why";
    return missing == std::string::npos ? line : "it has operators that OpenCV DNN does not: " + line;
  }

 private:
  std::string text_;
};

// What OpenCV says of an error without its file names and line numbers, in one line.
std::string reason_of(const cv::Exception& error) {
  std::string text = error.err.empty() ? error.what() : error.err;
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (!error.func.empty()) text += " (in OpenCV's " + error.func + ")";
  return text;
}

// Runs a function that may throw; only a Failure leaves the plug-in.
template <typename Work>
Failure guarded(std::uint32_t code, const std::string& what, const Work& work) {
  try {
    work();
    return {};
  } catch (const cv::Exception& error) {
    return {code, what + ": " + reason_of(error)};
  } catch (const std::bad_alloc&) {
    return {SERVOIR_RESOURCE_EXHAUSTED, what + ": not enough memory"};
  } catch (const std::exception& error) {
    return {code, what + ": " + error.what()};
  } catch (...) {
    return {code, what + ": for a reason that OpenCV does not tell"};
  }
}

// What the file says of a port, unless it leaves dimensions open.
std::optional<cv::MatShape> declared_shape(const servoir_port& port) {
  if (port.rank == 0) return cv::MatShape::scalar();
  cv::MatShape shape(static_cast<std::size_t>(port.rank));
  for (std::uint32_t d = 0; d < port.rank; ++d) {
    if (port.dims[d] == SERVOIR_DYNAMIC) return std::nullopt;
    shape[d] = static_cast<int>(port.dims[d]);
  }
  return shape;
}

Failure read_threads(const Options& options, int* threads) {
  for (const auto& [key, value] : options) {
    if (key == "streams") continue;  // one batch at a time, whatever is asked
    if (key != "threads") {
      return {SERVOIR_INVALID_ARGUMENT, "option '" + key + "' is unknown; OpenCV DNN takes threads and streams"};
    }
    const char* end = value.data() + value.size();
    const auto [stopped, error] = std::from_chars(value.data(), end, *threads);
    if (error != std::errc() || stopped != end || *threads < 0) {
      return {SERVOIR_INVALID_ARGUMENT, "option 'threads' is '" + value + "'; it must be a number from 0"};
    }
  }
  return {};
}

}  // namespace

Failure Model::open(const char* path, const Options& options, std::unique_ptr<plugin::Model>* model) {
  std::unique_ptr<Model> made(new Model());  // NOLINT: the constructor is private
  made->path_ = path;
  if (!std::ifstream(path, std::ios::binary)) {
    return {SERVOIR_NOT_FOUND, std::string(path) + " cannot be opened; it must be a file that this process may read"};
  }
  if (Failure f = made->read(path, options); f.failed()) return f;
  *model = std::move(made);
  return {};
}

Failure Model::open(const char* name, const void* data, std::uint64_t bytes, const Options& options,
                    std::unique_ptr<plugin::Model>* model) {
  std::unique_ptr<Model> made(new Model());  // NOLINT: the constructor is private
  made->path_ = name;
  made->in_memory_ = true;
  const auto* begin = static_cast<const char*>(data);
  made->content_.assign(begin, begin + bytes);
  if (Failure f = made->read(name, options); f.failed()) return f;
  *model = std::move(made);
  return {};
}

Failure Model::read(const std::string& name, const Options& options) {
  if (Failure f = read_threads(options, &threads_); f.failed()) return f;
  if (Failure f = make_network(&network_); f.failed()) return f;
  Failure failure;
  const Failure thrown = guarded(SERVOIR_INVALID_ARGUMENT, name + " cannot be examined", [&] {
    failure = read_ports(true, &inputs_);
    if (!failure.failed()) failure = read_ports(false, &outputs_);
  });
  return thrown.failed() ? thrown : failure;
}

Failure Model::make_network(cv::dnn::Net* network) const {
  const Messages messages;
  const Failure failure = guarded(SERVOIR_INVALID_ARGUMENT, path_ + " cannot be read as ONNX", [&] {
    // Only the new engine knows inputs, outputs and dynamic dimensions of a model.
    *network = in_memory_ ? cv::dnn::readNetFromONNX(content_.data(), content_.size(), cv::dnn::ENGINE_NEW)
                          : cv::dnn::readNetFromONNX(path_, cv::dnn::ENGINE_NEW);
  });
  if (failure.failed()) return failure;
  if (network->empty() || network->getMainGraph().empty()) {
    return {SERVOIR_INVALID_ARGUMENT, path_ + " cannot be read as ONNX: " + messages.reason()};
  }
  return {};
}

Failure Model::read_ports(bool inputs, std::vector<Port>* ports) const {
  const std::vector<cv::dnn::Arg>& args =
      inputs ? network_.getMainGraph()->inputs() : network_.getMainGraph()->outputs();
  ports->resize(args.size());  // once: descriptions point into the elements
  for (std::size_t i = 0; i < args.size(); ++i) {
    const cv::dnn::ArgData& arg = network_.argData(args[i]);
    Port& port = (*ports)[i];
    port.name = arg.name;
    port.type = arg.type;
    port.description.name = port.name.c_str();
    port.description.dtype = dtype_of(arg.type);
    const std::string place = path_ + ": " + (inputs ? "input" : "output") + " '" + port.name + "'";
    if (port.description.dtype == SERVOIR_UNKNOWN_TYPE) {
      return {SERVOIR_UNIMPLEMENTED, place +
                                         " has a type that Servoir cannot serve: bool, integers of 8 to 64 bits and "
                                         "float16, 32 and 64 can be"};
    }
    const auto rank = static_cast<std::uint32_t>(std::max(arg.shape.dims, 0));
    if (rank > SERVOIR_MAX_RANK) {
      return {SERVOIR_UNIMPLEMENTED, place + " has " + std::to_string(rank) + " dimensions; at most " +
                                         std::to_string(SERVOIR_MAX_RANK) + " can be served"};
    }
    port.description.rank = rank;
    for (std::uint32_t d = 0; d < rank; ++d) {
      // Negative numbers are dimensions with a name, or without.
      port.description.dims[d] = arg.shape[d] < 0 ? SERVOIR_DYNAMIC : arg.shape[d];
    }
  }
  return {};
}

Failure Model::create_instance(const char* device, std::unique_ptr<plugin::Instance>* instance) {
  return Instance::create(*this, device, instance);
}

Failure Instance::create(const Model& model, const std::string& device, std::unique_ptr<plugin::Instance>* instance) {
  if (device != "CPU") {
    return {SERVOIR_INVALID_ARGUMENT,
            "there is no device '" + device + "' here; the OpenCV DNN that is built in has CPU"};
  }
  std::unique_ptr<Instance> made(new Instance(model));  // NOLINT: the constructor is private
  if (Failure f = model.make_network(&made->network_); f.failed()) return f;
  for (const Port& port : model.outputs_) made->output_names_.push_back(port.name);
  *instance = std::move(made);
  return {};
}

Failure Instance::execute(const servoir_buffer* inputs, std::uint64_t input_count, servoir_buffer* outputs,
                          std::uint64_t output_count) {
  if (input_count != model_.inputs_.size() || output_count != model_.outputs_.size()) {
    return {SERVOIR_INVALID_ARGUMENT, "the model has " + std::to_string(model_.inputs_.size()) + " inputs and " +
                                          std::to_string(model_.outputs_.size()) + " outputs"};
  }
  Failure failure = run(inputs, outputs);
  if (failure.failed() && used_) {
    // A network keeps things of the batch before: a GRU without an initial state runs once only.
    if (Failure f = model_.make_network(&network_); f.failed()) return f;
    used_ = false;
    failure = run(inputs, outputs);
  }
  return failure;
}

Failure Instance::run(const servoir_buffer* inputs, servoir_buffer* outputs) {
  Failure failure;
  const Failure thrown = guarded(SERVOIR_INVALID_ARGUMENT, "OpenCV DNN cannot run the batch", [&] {
    if (cv::getNumThreads() != model_.threads_ && model_.threads_ > 0) cv::setNumThreads(model_.threads_);
    for (std::size_t i = 0; i < model_.inputs_.size() && !failure.failed(); ++i) failure = set_input(i, inputs[i]);
    if (failure.failed()) return;
    network_.forward(outputs_, output_names_);
    used_ = true;
    if (outputs_.size() != model_.outputs_.size()) {
      failure = {SERVOIR_INTERNAL, "OpenCV DNN gave " + std::to_string(outputs_.size()) + " outputs of " +
                                       std::to_string(model_.outputs_.size())};
    }
    for (std::size_t i = 0; i < model_.outputs_.size() && !failure.failed(); ++i) failure = give_output(i, &outputs[i]);
  });
  return thrown.failed() ? thrown : failure;
}

Failure Instance::set_input(std::size_t index, const servoir_buffer& buffer) {
  const Port& port = model_.inputs_[index];
  const auto wrong = [&](const std::string& why) {
    return Failure{SERVOIR_INVALID_ARGUMENT, "input '" + port.name + "' " + why};
  };
  if (buffer.dtype != port.description.dtype) return wrong("has another type than the model's");
  if (buffer.rank != port.description.rank) {
    return wrong("has " + std::to_string(buffer.rank) + " dimensions; the model wants " +
                 std::to_string(port.description.rank));
  }
  std::array<int, SERVOIR_MAX_RANK> dims{};
  for (std::uint32_t d = 0; d < buffer.rank; ++d) {
    const std::int64_t wanted = port.description.dims[d];
    // OpenCV takes any shape, and may read beyond the input's end if the shape is wrong.
    if (buffer.dims[d] < 0 || buffer.dims[d] > INT_MAX || (wanted != SERVOIR_DYNAMIC && buffer.dims[d] != wanted)) {
      return wrong(
          "has " + std::to_string(buffer.dims[d]) + " in dimension " + std::to_string(d) +
          (wanted == SERVOIR_DYNAMIC ? ", which is too large" : "; the model wants " + std::to_string(wanted)));
    }
    dims[d] = static_cast<int>(buffer.dims[d]);
  }
  const cv::MatShape shape =
      buffer.rank == 0 ? cv::MatShape::scalar() : cv::MatShape(static_cast<std::size_t>(buffer.rank), dims.data());
  // A conversion from half precision loses the shape of what has no elements.
  const int type = port.type == CV_16F && shape.total() == 0 ? CV_32F : port.type;
  network_.setInput(cv::Mat(shape, type, buffer.data), port.name);
  return {};
}

Failure Instance::give_output(std::size_t index, servoir_buffer* buffer) {
  const Port& port = model_.outputs_[index];
  cv::Mat& result = outputs_[index];
  cv::MatShape shape = result.shape();
  const std::uint64_t bytes = shape.total() * static_cast<std::uint64_t>(CV_ELEM_SIZE(port.type));
  // OpenCV computes half precision in single precision, and gives the results as such. Without elements a conversion
  // loses the shape.
  if (bytes > 0 && result.type() != port.type) result.convertTo(result, port.type);
  if (!result.isContinuous()) result = result.clone();
  // OpenCV gives some scalars, and parts without elements, dimensions of 1 that they should not have.
  const std::optional<cv::MatShape> declared = declared_shape(port.description);
  if (declared && shape.dims != declared->dims && shape.total() == declared->total()) shape = *declared;
  const int rank = std::max(shape.dims, 0);
  if (rank > static_cast<int>(SERVOIR_MAX_RANK)) {
    return {SERVOIR_UNIMPLEMENTED, "output '" + port.name + "' has " + std::to_string(rank) + " dimensions; at most " +
                                       std::to_string(SERVOIR_MAX_RANK) + " can be served"};
  }
  if (buffer->data != nullptr && bytes <= buffer->bytes) {
    if (bytes > 0) std::memcpy(buffer->data, result.data, bytes);
  } else {
    buffer->data = result.data;
  }
  buffer->bytes = bytes;
  buffer->dtype = port.description.dtype;
  buffer->rank = static_cast<std::uint32_t>(rank);
  for (int d = 0; d < rank; ++d) buffer->dims[d] = shape[static_cast<std::size_t>(d)];
  return {};
}

}  // namespace servoir::opencv_dnn
