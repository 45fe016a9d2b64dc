/* libspeechzoo: exported graphs that take a waveform, as answers to recordings; those of export.py --streaming answer
 * while a recording arrives. C, and nothing passes it but numbers and texts in UTF-8.
 *
 *   speechzoo *zoo = speechzoo_create("deepspeech2.mindir", "{\"device_target\": \"CPU\"}");
 *   speechzoo_start(zoo, 16000, 0);
 *   speechzoo_push(zoo, samples, count);              any number of times
 *   speechzoo_finish(zoo);
 *   while ((json = speechzoo_result(zoo)) != NULL) puts(json);
 *   speechzoo_free(zoo);
 *
 * What a function returns is kSpeechzooFine or another of these; speechzoo_error() has the line for the user then. A
 * recording that failed is over: speechzoo_start() begins the next. A handle belongs to one thread at a time. */
#ifndef ASCEND310_INFER_INC_SPEECHZOO_H_
#define ASCEND310_INFER_INC_SPEECHZOO_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPEECHZOO_API __attribute__((visibility("default")))

enum { kSpeechzooFine = 0, kSpeechzooDefect = 1, kSpeechzooMistake = 2 };

typedef struct speechzoo speechzoo;

/* A graph, compiled, from a file with inputs.json beside it. `settings`: a JSON object, or NULL. It may have
 * device_target ("Ascend" or "CPU"), device_id, precision, threads, beam_width, lm_path, alpha, beta, timestamps: as
 * main's flags; and partial (true or false): of text of a streaming graph the text so far, too. The first graph with
 * operators of its own decides how many threads those of the process work with.
 * NULL where it cannot be had; speechzoo_error(NULL) says why. */
SPEECHZOO_API speechzoo *speechzoo_create(const char *graph, const char *settings);

/* A JSON object: kind ("text", "voices" or "embedding"), sample_rate (Hz, of the graph), shortest (samples at that
 * rate), voices (their number), size (of an embedding), threshold and calibration (scale and offset of scores, and
 * duration, the weight of log(1 / (1 / a + 1 / b)) of recordings of a and b seconds; where there are any), latency (of
 * a streaming graph: seconds after which an answer is complete). Valid as long as the handle. */
SPEECHZOO_API const char *speechzoo_describe(const speechzoo *zoo);

/* Begins a recording at `rate` Hz. `length`: its samples, 0 where that is not known; an embedding needs memory for all
 * of it then. What the recording before has not given is dropped. */
SPEECHZOO_API int speechzoo_start(speechzoo *zoo, int64_t rate, int64_t length);

/* The next samples of one channel in [-1, 1]. */
SPEECHZOO_API int speechzoo_push(speechzoo *zoo, const float *samples, size_t count);

/* The end of the recording. */
SPEECHZOO_API int speechzoo_finish(speechzoo *zoo);

/* The next result, a JSON object, NULL where there is none at present. Valid until the next call with this handle.
 *
 *   text       {"start": s, "end": s, "text": "...", "words": [{"start": s, "end": s, "text": "..."}]} of each segment;
 *              with partial {"start": s, "end": s, "partial": "..."} of what is being said, after each step
 *   voices     {"gains": [...], "decibels": [...]} at the end: what the samples of each speaker are to be
 *              multiplied by, for the level that they have in the mixture (1 of a streaming graph, whose samples
 *              have it); and how loud each then is against the mixture
 *   embedding  {"embedding": [...], "seconds": s} at the end: of length 1, of so many seconds */
SPEECHZOO_API const char *speechzoo_result(speechzoo *zoo);

/* Takes the next samples of speaker 0, 1, ..., at the rate of the recording and in all as many; up to `room`. Returns
 * how many there were. */
SPEECHZOO_API size_t speechzoo_samples(speechzoo *zoo, int speaker, float *samples, size_t room);

/* What went wrong with this handle last; of NULL, with speechzoo_create() in this thread. */
SPEECHZOO_API const char *speechzoo_error(const speechzoo *zoo);

SPEECHZOO_API void speechzoo_free(speechzoo *zoo);

#ifdef __cplusplus
}
#endif

#endif /* ASCEND310_INFER_INC_SPEECHZOO_H_ */
