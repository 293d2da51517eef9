/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Leaks, asked for by name: the harness ends its children with _exit(), where
 * LeakSanitizer does not look. 0 in a program built without it.
 */
#ifndef DUET_SELFTESTS_LEAKS_H
#define DUET_SELFTESTS_LEAKS_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define leaks()	__lsan_do_recoverable_leak_check()
#else
#define leaks()	0
#endif

#endif
