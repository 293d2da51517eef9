/* SPDX-License-Identifier: GPL-2.0 */
/* What a JSON text would cost, before it is parsed: two bytes of text can make a hundred of memory. */
#ifndef DUET_LIB_JSON_BUDGET_H
#define DUET_LIB_JSON_BUDGET_H

#include <stddef.h>

#define JSON_DEPTH_MAX 32	/* nothing of ours is nested deeper */

/* json_budget - 0; -E2BIG: more than so many values and names; -ELOOP: nested deeper than JSON_DEPTH_MAX. The text may
 * be anything: whether it is JSON is the parser's to say.
 */
int json_budget(const char *text, size_t len, size_t nodes);

#endif
