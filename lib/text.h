/* SPDX-License-Identifier: GPL-2.0 */
/* Text from outside: names by one pattern, and what people see without control characters. */
#ifndef DUET_LIB_TEXT_H
#define DUET_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* what a name may be, for sentences that refuse one */
#define NAME_RULE "up to 63 letters, digits, \".\", \"_\" and \"-\", the first a letter or digit"
bool name_good(const char *name);

/* text_shown - in with each control character, direction mark and byte that is no UTF-8 as \xNN (a newline as \n), for a
 * terminal or a log; cut to size, always ended by 0. Returns out.
 */
char *text_shown(char *out, size_t size, const char *in);
/* text_is_shown - would that change nothing */
bool text_is_shown(const char *in);

#endif
