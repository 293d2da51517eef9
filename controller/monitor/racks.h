/* SPDX-License-Identifier: GPL-2.0 */
/* Which addresses are in which rack. */
#ifndef DUET_CONTROLLER_RACKS_H
#define DUET_CONTROLLER_RACKS_H

#include "topology.h"

/* racks_parse - "PREFIX PREFIX ..."; *out malloc'd; 0, -EINVAL, -ENOMEM */
int racks_parse(const char *text, struct prefix **out, unsigned int *n);
/* racks_to_json - [{"prefix", "rack"}], as host agents take it */
json_t *racks_to_json(const struct topology *t);
/* racks_id - differs if the list does: hosts report which they have */
void racks_id(json_t *racks, char id[17]);

#endif
