/* SPDX-License-Identifier: GPL-2.0 */
/* Prometheus text: built line by line into one string. */
#ifndef DUET_LIB_METRICS_H
#define DUET_LIB_METRICS_H

#include <stdint.h>

struct metrics;

struct metrics *metrics_new(void);
/* metrics_family - HELP and TYPE ("counter" or "gauge") of the samples that follow */
void metrics_family(struct metrics *m, const char *name, const char *type, const char *help);
/* metrics_add - a sample; labels are name, value pairs ended by NULL (values are escaped) */
void metrics_add(struct metrics *m, double value, ...) __attribute__((sentinel));
/* metrics_text - the text, owned by m until metrics_free() */
const char *metrics_text(struct metrics *m);
void metrics_free(struct metrics *m);

#endif
