/* The interface between Servoir and a native backend.
 *
 * A backend is a shared object ("plug-in") that exports one function, servoir_backend_v1(), which returns a table of
 * functions. It wraps a runtime that executes models (OpenVINO, OpenCV DNN, ...). The plug-in itself links against
 * nothing of that runtime: Servoir looks for the runtime's libraries and hands their paths to initialise(), which opens
 * them. So a missing or broken runtime cannot keep anything else from working, and one plug-in serves many releases.
 *
 *   backend    the table                                   one in a process, static
 *   runtime    the opened libraries, by initialise()       lives longer than every model opened with it
 *   model      a model's file, by open_model()             lives longer than every instance of it
 *   instance   a model ready to run on a device            executes one batch at a time
 *
 * Rules
 *   - C only: no C++ type, no exception crosses this boundary, in either direction.
 *   - A function that can fail returns SERVOIR_OK or another code and then fills in *error: what was wrong, where, and
 *     what would be right. `error` is never NULL.
 *   - Threads: functions of different instances may run at the same time; calls on one runtime's models and on one
 *     instance do not overlap. Any thread may call.
 *   - Ownership: what a caller passes in is the caller's and need only live until the function returns; a plug-in
 *     copies what it keeps. What a plug-in returns by pointer stays the plug-in's; each field says how long it is
 *     valid.
 *   - The interface grows by fields at the end of servoir_backend (struct_bytes tells what is there). Anything else is
 *     a new version with a new symbol.
 */
#ifndef SERVOIR_BACKEND_H_
#define SERVOIR_BACKEND_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SERVOIR_BACKEND_INTERFACE 1u
#define SERVOIR_BACKEND_SYMBOL "servoir_backend_v1"

#define SERVOIR_MAX_RANK 8u
#define SERVOIR_DYNAMIC ((int64_t)-1) /* a dimension that may be anything; only in servoir_port */
#define SERVOIR_UNKNOWN_RANK UINT32_MAX
#define SERVOIR_ERROR_BYTES 4096u

/* Codes are those of gRPC's statuses. */
#define SERVOIR_OK 0u
#define SERVOIR_INVALID_ARGUMENT 3u
#define SERVOIR_NOT_FOUND 5u
#define SERVOIR_RESOURCE_EXHAUSTED 8u
#define SERVOIR_FAILED_PRECONDITION 9u
#define SERVOIR_UNIMPLEMENTED 12u
#define SERVOIR_INTERNAL 13u

/* Element types. The numbers belong to this interface and never change. Values are in the machine's own byte order.
 * There are no texts: their elements differ in length, and OpenVINO, whose models may have them, gives C programs no
 * way to read them. A plug-in refuses a model that has some. */
#define SERVOIR_UNKNOWN_TYPE 0u
#define SERVOIR_BOOL 1u
#define SERVOIR_INT8 2u
#define SERVOIR_UINT8 3u
#define SERVOIR_INT16 4u
#define SERVOIR_UINT16 5u
#define SERVOIR_INT32 6u
#define SERVOIR_UINT32 7u
#define SERVOIR_INT64 8u
#define SERVOIR_UINT64 9u
#define SERVOIR_FLOAT16 10u
#define SERVOIR_FLOAT32 11u
#define SERVOIR_FLOAT64 12u
#define SERVOIR_BFLOAT16 15u /* the upper half of a float32; clients give and get float32, which Servoir converts */

typedef struct servoir_runtime servoir_runtime;
typedef struct servoir_model servoir_model;
typedef struct servoir_instance servoir_instance;

/* Written by the plug-in; the memory is the caller's. UTF-8, ends with a NUL, cut where it does not fit. */
typedef struct servoir_error {
  char text[SERVOIR_ERROR_BYTES];
} servoir_error;

/* "threads" = "2". Keys every backend knows: "threads" (CPU threads, 0 = the runtime's own choice), "streams". A key
 * in capitals is a property of the runtime, passed on as it is. A key that a backend does not know is an error. */
typedef struct servoir_option {
  const char* key;
  const char* value;
} servoir_option;

/* An input or output of a model, the batch dimension included. */
typedef struct servoir_port {
  const char* name; /* valid as long as the model */
  uint32_t dtype;
  uint32_t rank; /* SERVOIR_UNKNOWN_RANK: any shape */
  int64_t dims[SERVOIR_MAX_RANK];
} servoir_port;

/* A tensor, packed, C order. */
typedef struct servoir_buffer {
  void* data; /* aligned to its element size at least */
  uint64_t bytes;
  uint32_t dtype;
  uint32_t rank;
  int64_t dims[SERVOIR_MAX_RANK];
} servoir_buffer;

/* A file that is in memory. `name` says in messages which one it is; there need not be such a file on disk, or the file
 * may be another (the same content, encrypted). */
typedef struct servoir_content {
  const char* name;
  const void* data;
  uint64_t bytes;
} servoir_content;

typedef struct servoir_backend {
  uint32_t interface_version; /* SERVOIR_BACKEND_INTERFACE */
  uint32_t struct_bytes;      /* sizeof(servoir_backend) the plug-in was built with */
  const char* name;           /* "openvino" */

  /* File names of the runtime's library in order of preference, shell patterns ("libfoo.so", "libfoo.so.*"), ended by
   * NULL. Empty: the backend needs no library, initialise() gets none. */
  const char* const* library_patterns;

  /* Opens the runtime: libraries[0] is a file that matches library_patterns. Called again with another file when it
   * fails; must leave nothing open then. */
  uint32_t (*initialise)(const char* const* libraries, uint64_t library_count, servoir_runtime** runtime,
                         servoir_error* error);
  /* The runtime's own version, valid as long as the runtime. */
  const char* (*runtime_version)(const servoir_runtime* runtime);
  void (*shut_down)(servoir_runtime* runtime);

  /* paths[0] is the model's file, the others are what belongs to it (weights); which formats are read is the backend's
   * business. Options are applied when an instance is made. */
  uint32_t (*open_model)(servoir_runtime* runtime, const char* const* paths, uint64_t path_count,
                         const servoir_option* options, uint64_t option_count, servoir_model** model,
                         servoir_error* error);
  uint64_t (*input_count)(const servoir_model* model);
  uint64_t (*output_count)(const servoir_model* model);
  /* `index` is below the count. */
  void (*input)(const servoir_model* model, uint64_t index, servoir_port* port);
  void (*output)(const servoir_model* model, uint64_t index, servoir_port* port);
  void (*close_model)(servoir_model* model);

  /* `device` is a kind of device in capitals, "CPU", which may have a number that counts those of its kind from 0:
   * "GPU.1". The configuration of a model may name any other device as the runtime calls it. */
  uint32_t (*create_instance)(servoir_model* model, const char* device, servoir_instance** instance,
                              servoir_error* error);
  /* Runs one batch. Both arrays have as many elements as the model has inputs and outputs.
   *   inputs    data, bytes (exactly what dtype and dims need), dtype, dims are set; only read.
   *   outputs   before: data and bytes are the room to write into, or NULL and 0; dtype, rank and dims are what the
   *             caller expects (rank SERVOIR_UNKNOWN_RANK: it does not know).
   *             after: dtype, rank and dims are those of the result, and bytes its size. data is unchanged if the
   * result is in the room, else it points to the plug-in's own memory, valid until the next execute() on this instance
   * or its end. A plug-in never writes beyond a room, and writes nothing after it returned. */
  uint32_t (*execute)(servoir_instance* instance, const servoir_buffer* inputs, uint64_t input_count,
                      servoir_buffer* outputs, uint64_t output_count, servoir_error* error);
  void (*destroy_instance)(servoir_instance* instance);

  /* What follows was added later: a table with fewer struct_bytes does not have it. */

  /* open_model() for files that are in memory: contents[0] is the model's file, the others are what belongs to it. The
   * plug-in writes none of them to disk. NULL: it can only open files by their path. */
  uint32_t (*open_model_in_memory)(servoir_runtime* runtime, const servoir_content* contents, uint64_t content_count,
                                   const servoir_option* options, uint64_t option_count, servoir_model** model,
                                   servoir_error* error);

  /* Functions that the runtime's library must export, ended by NULL: a library without them is refused before it is
   * handed to initialise(). NULL: none is looked for. */
  const char* const* library_symbols;

  /* Writes the runtime's names of its devices, one a line, ended by NUL; as many as fit into `bytes`. For people to
   * look at: it may take its time. NULL: the backend does not know. */
  uint32_t (*devices)(servoir_runtime* runtime, char* names, uint64_t bytes, servoir_error* error);
} servoir_backend;

/* The plug-in's one export. The table is static. */
#if defined(SERVOIR_BUILDS_BACKEND)
__attribute__((visibility("default")))
#endif
const servoir_backend*
servoir_backend_v1(void);

#ifdef __cplusplus
}
#endif

#endif /* SERVOIR_BACKEND_H_ */
