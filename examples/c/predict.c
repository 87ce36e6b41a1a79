/* Runs an export on an image file through the TensorFlow C API and prints its boxes.
 *
 *     predict exported/lite/1 photo.jpg [COUNT]
 *
 * prints a line a box, best first: y1 x1 y2 x2 (pixels), score, level, and the class number of a detector. The exit code
 * is 1 where something fails and 3 where the file is no image that the export decodes.
 *
 * An export's signatures name its tensors. They are part of the MetaGraphDef, a protocol buffer, which the C API hands
 * over as bytes: find_tensor() below reads the few fields that are needed, so no protobuf library is.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define SIGNATURE "encoded"
#define INPUT "image_bytes"

enum { BOXES, SCORES, LEVELS, VALID, DECODED, CLASSES, OUTPUTS };
static const char *const OUTPUT_NAMES[OUTPUTS] = {"boxes", "scores", "levels", "valid", "decoded", "classes"};
static const TF_DataType OUTPUT_TYPES[OUTPUTS] = {TF_FLOAT, TF_FLOAT, TF_INT32, TF_BOOL, TF_BOOL, TF_INT32};

static void fail(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

static void check(const TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

/* A part of a serialised message. */
typedef struct {
  const uint8_t *at, *end;
} Bytes;

static uint64_t read_varint(Bytes *from) {
  uint64_t value = 0;
  for (int shift = 0; from->at < from->end && shift < 64; shift += 7) {
    uint8_t byte = *from->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  fail("the export", "its MetaGraphDef is cut short");
  return 0;
}

/* Moves to the next field with this number; returns 0 at the end. Only length-delimited fields have content. */
static int next_field(Bytes *message, uint32_t number, Bytes *content) {
  while (message->at < message->end) {
    uint64_t tag = read_varint(message), size = 0;
    switch (tag & 7) {
      case 0: read_varint(message); break;
      case 1: size = 8; break;
      case 2: size = read_varint(message); break;
      case 5: size = 4; break;
      default: fail("the export", "its MetaGraphDef has a field of an unknown kind");
    }
    if (size > (uint64_t)(message->end - message->at)) fail("the export", "its MetaGraphDef is cut short");
    *content = (Bytes){message->at, message->at + size};
    message->at += size;
    if ((tag & 7) == 2 && (tag >> 3) == number) return 1;
  }
  return 0;
}

static int equals(Bytes text, const char *expected) {
  size_t length = strlen(expected);
  return (size_t)(text.end - text.at) == length && memcmp(text.at, expected, length) == 0;
}

/* The value of a map<string, message> in field `number` whose key is `key`; returns 0 without one. */
static int find_entry(Bytes message, uint32_t number, const char *key, Bytes *value) {
  Bytes entry, name;
  while (next_field(&message, number, &entry)) {
    Bytes rest = entry;
    if (next_field(&rest, 1, &name) && equals(name, key)) {
      rest = entry;
      return next_field(&rest, 2, value);
    }
  }
  return 0;
}

/* The tensor that a signature calls `name`: MetaGraphDef.signature_def = 5, SignatureDef.inputs = 1 and outputs = 2,
 * TensorInfo.name = 1, for example "StatefulPartitionedCall:3". Its `oper` is NULL where there is none. */
static TF_Output find_tensor(TF_Graph *graph, Bytes meta_graph, uint32_t side, const char *name) {
  TF_Output found = {NULL, 0};
  Bytes signature, info, text;
  if (!find_entry(meta_graph, 5, SIGNATURE, &signature)) fail("the export", "has no signature \"" SIGNATURE "\"");
  if (!find_entry(signature, side, name, &info) || !next_field(&info, 1, &text)) return found;
  char tensor[512];
  size_t length = (size_t)(text.end - text.at);
  if (length >= sizeof tensor) fail(name, "its tensor has too long a name");
  memcpy(tensor, text.at, length);
  tensor[length] = 0;
  char *colon = strrchr(tensor, ':');
  if (colon) {
    found.index = atoi(colon + 1);
    *colon = 0;
  }
  found.oper = TF_GraphOperationByName(graph, tensor);
  if (!found.oper) fail(tensor, "no such operation in the graph");
  return found;
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, "cannot be read");
  size_t room = 1 << 16;
  char *content = malloc(room);
  *size = 0;
  while (content) {
    *size += fread(content + *size, 1, room - *size, file);
    if (*size < room) break;
    content = realloc(content, room *= 2);
  }
  if (!content) fail(path, "does not fit into memory");
  if (ferror(file)) fail(path, "cannot be read");
  fclose(file);
  return content;
}

/* A string tensor [1] with the file's bytes. */
static TF_Tensor *encoded_image(const char *path) {
  size_t size;
  char *content = read_file(path, &size);
  const int64_t shape[1] = {1};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, shape, 1, sizeof(TF_TString));
  if (!tensor) fail(path, "does not fit into memory");
  TF_TString *text = TF_TensorData(tensor);
  TF_StringInit(text);
  TF_StringCopy(text, content, size);
  free(content);
  return tensor;
}

int main(int count_of_words, char **words) {
  if (count_of_words < 3) {
    fprintf(stderr, "usage: %s EXPORT/VERSION IMAGE [COUNT]\n", words[0]);
    return 1;
  }
  const long wanted = count_of_words > 3 ? strtol(words[3], NULL, 10) : 1000000;

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Buffer *meta = TF_NewBuffer();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, words[1], tags, 1, graph, meta, status);
  check(status, words[1]);

  const Bytes meta_graph = {meta->data, (const uint8_t *)meta->data + meta->length};
  TF_Output input = find_tensor(graph, meta_graph, 1, INPUT);
  if (!input.oper) fail("the export", "its signature has no input \"" INPUT "\"");
  TF_Output outputs[OUTPUTS];
  int fetched = 0;
  for (; fetched < OUTPUTS; ++fetched) {
    outputs[fetched] = find_tensor(graph, meta_graph, 2, OUTPUT_NAMES[fetched]);
    if (!outputs[fetched].oper) break;
  }
  if (fetched < CLASSES) fail(OUTPUT_NAMES[fetched], "no such output"); /* a proposer has no classes */

  TF_Tensor *image = encoded_image(words[2]);
  TF_Tensor *results[OUTPUTS] = {NULL};
  TF_SessionRun(session, NULL, &input, &image, 1, outputs, results, fetched, NULL, 0, NULL, status);
  check(status, words[2]);
  for (int i = 0; i < fetched; ++i)
    if (TF_TensorType(results[i]) != OUTPUT_TYPES[i]) fail(OUTPUT_NAMES[i], "has another type than expected");

  const unsigned char *decoded = TF_TensorData(results[DECODED]);
  const unsigned char *valid = TF_TensorData(results[VALID]);
  const float *boxes = TF_TensorData(results[BOXES]), *scores = TF_TensorData(results[SCORES]);
  const int32_t *levels = TF_TensorData(results[LEVELS]);
  const int32_t *classes = fetched > CLASSES ? TF_TensorData(results[CLASSES]) : NULL;
  if (!decoded[0]) fprintf(stderr, "error: %s: no image that the export decodes\n", words[2]);
  const int64_t length = decoded[0] ? TF_Dim(results[BOXES], 1) : 0;
  for (int64_t i = 0, printed = 0; i < length && printed < wanted; ++i) {
    if (!valid[i]) continue;
    const float *box = boxes + 4 * i;
    printf("%.9g %.9g %.9g %.9g %.9g %" PRId32, box[0], box[1], box[2], box[3], scores[i], levels[i]);
    if (classes) printf(" %" PRId32, classes[i]);
    putchar('\n');
    ++printed;
  }
  const int code = decoded[0] ? 0 : 3;

  for (int i = 0; i < fetched; ++i) TF_DeleteTensor(results[i]);
  TF_StringDealloc(TF_TensorData(image));
  TF_DeleteTensor(image);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteBuffer(meta);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return code;
}
