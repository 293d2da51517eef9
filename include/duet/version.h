/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The release, of the module, the tools and the agents alike. */
#ifndef DUET_VERSION_H
#define DUET_VERSION_H

#define DUET_VERSION	"0.1"

#endif
