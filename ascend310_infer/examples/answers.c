/* The answers of a graph to raw sound, 16-bit PCM of one channel, from standard input, as JSON lines:
 *
 *   cc -Iinc examples/answers.c -o answers build/libspeechzoo.so -Wl,-rpath,$PWD/build
 *   sox talk.wav -t raw -e signed -b 16 -c 1 - | ./answers deepspeech2.mindir 16000 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "speechzoo.h"

static int refuse(const speechzoo *zoo) {
  fprintf(stderr, "error: %s\n", speechzoo_error(zoo));
  return 2;
}

/* Prints what there is; returns how many samples of the first speaker were among it. */
static size_t take(speechzoo *zoo) {
  float samples[4096];
  const char *result;
  size_t all = 0, count;
  while ((count = speechzoo_samples(zoo, 0, samples, 4096)) > 0) {
    all += count; /* where they are to be kept: here */
  }
  while ((result = speechzoo_result(zoo)) != NULL) {
    puts(result);
  }
  fflush(stdout);
  return all;
}

int main(int argc, char **argv) {
  int16_t pcm[4096];
  float samples[4096];
  size_t count, separated = 0;
  if (argc != 3) {
    fprintf(stderr, "usage: answers GRAPH.mindir HZ < pcm\n");
    return 2;
  }
  speechzoo *zoo = speechzoo_create(argv[1], "{\"device_target\": \"CPU\", \"threads\": 1}");
  if (zoo == NULL) {
    return refuse(NULL);
  }
  int code = speechzoo_start(zoo, atoi(argv[2]), 0);
  while (code == kSpeechzooFine && (count = fread(pcm, sizeof(pcm[0]), 4096, stdin)) > 0) {
    for (size_t i = 0; i < count; ++i) {
      samples[i] = (float)pcm[i] / 32768;
    }
    code = speechzoo_push(zoo, samples, count);
    separated += take(zoo);
  }
  if (code == kSpeechzooFine) {
    code = speechzoo_finish(zoo);
  }
  separated += take(zoo);
  if (code != kSpeechzooFine) {
    code = refuse(zoo);
  } else if (separated > 0) {
    fprintf(stderr, "%zu samples of each speaker\n", separated);
  }
  speechzoo_free(zoo);
  return code;
}
